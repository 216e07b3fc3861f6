"""A store that fsspec reaches: `s3://bucket/prefix`, `gs://…`, and whatever else has a driver.

A file is one upload and counts only once a committed row names it, so an interrupted upload leaves at most something
that `gc` drops. Credentials and endpoints come from where the driver looks for them, never from the URL.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from cl_ast.errors import RegistryError
from registry.crash_points import crash_point
from registry.file_stores import Stored

_EXTRAS = {"s3": "'cl-ast[s3]'", "s3a": "'cl-ast[s3]'", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_WRITTEN = ("mtime", "LastModified", "last_modified", "created")  # what drivers call the time of writing


class RemoteStore:
    """The files below one URL."""

    writable = True  # nobody knows before something is written

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        if "@" in rest:
            raise RegistryError(
                f"adapters={scheme}://…@… holds credentials: give them by the environment or the files that the "
                "store's own tools read"
            )
        self.place = url.rstrip("/")
        try:
            from fsspec.core import url_to_fs

            self._fs, self._root = url_to_fs(self.place, use_listings_cache=False, skip_instance_cache=True)
        except ImportError as error:
            extra = _EXTRAS.get(scheme, f"fsspec and its driver for {scheme}")
            raise RegistryError(f"adapters at {scheme}:// need more packages: pip install {extra} ({error})") from error
        except ValueError as error:
            raise RegistryError(f"adapters={self.place} is no place that fsspec knows: {error}") from error

    def prepare(self) -> None:
        """Do nothing: object stores have no folders, and making a bucket is left to its owner."""

    def address(self, name: str) -> str:
        return f"{self.place}/{name}"

    def write(self, name: str, data: bytes) -> None:
        with self._errors("write an adapter into"):
            crash_point("upload file")
            self._fs.pipe_file(f"{self._root}/{name}", data)

    def read(self, name: str) -> bytes | None:
        with self._errors("read an adapter from"):
            try:
                return bytes(self._fs.cat_file(f"{self._root}/{name}"))
            except FileNotFoundError:
                return None

    def delete(self, name: str) -> None:
        with suppress(Exception):  # a file that stays does no harm
            crash_point("delete file")
            self._fs.rm_file(f"{self._root}/{name}")

    def move(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Copy each file within the store, then delete it where it was: a crash may leave it in both places."""
        for source, target in pairs:
            with self._errors("move an adapter in"):
                try:
                    crash_point("copy file")
                    self._copy(f"{self._root}/{source}", f"{self._root}/{target}")
                except FileNotFoundError:
                    continue
                crash_point("delete file")
                self._fs.rm_file(f"{self._root}/{source}")

    def _copy(self, source: str, target: str) -> None:
        try:
            self._fs.cp_file(source, target)
        except FileNotFoundError:
            if not self._fs.exists(source):
                raise
            self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)  # where stores of this kind have folders
            self._fs.cp_file(source, target)

    def files(self, folder: str = "") -> list[Stored]:
        with self._errors("list"):
            try:
                found = self._fs.find(f"{self._root}/{folder}".rstrip("/"), maxdepth=1, detail=True)
            except FileNotFoundError:
                return []
        files = [_stored(path, facts) for path, facts in found.items() if facts["type"] == "file"]
        return sorted(files, key=lambda file: file.name)

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        """Turn any error into a RegistryError: every driver has errors of its own, and not all are OSErrors."""
        try:
            yield
        except Exception as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise RegistryError(
                f"cannot {doing} {self.place}: {said}; check the address, your rights and the network"
            ) from error


def _stored(path: str, facts: Mapping[str, Any]) -> Stored:
    moment = next((facts[key] for key in _WRITTEN if facts.get(key) is not None), 0.0)
    written = moment.timestamp() if isinstance(moment, datetime) else float(moment)
    return Stored(path.rpartition("/")[2], int(facts["size"] or 0), written)
