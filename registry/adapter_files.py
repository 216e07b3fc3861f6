"""The adapter files: named by the SHA-256 of their content, in a store, with a cache in front of a store far away."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import trash
from registry.file_stores import LocalFolder, Store, Stored
from registry.row_checks import require_registry_id, require_sha256

ID_FILE = "registry-id"
"""The file beside the adapters that says which registry they belong to."""
_SUFFIX = ".safetensors"
_LONGEST_ID = 100
_OWN = re.compile(r"[0-9a-f]{64}\.safetensors|\.[0-9a-f]{16}\.tmp")


def is_own(name: str) -> bool:
    """Return whether a file of that name is one that only a registry can have written, or begun to write."""
    return name == ID_FILE or _OWN.fullmatch(name) is not None or trash.is_trashed(name)


class AdapterFiles:
    """The adapter files of one registry.

    A file in the cache is named by its content too, so it is never out of date. Only whole files get in, and a file
    from the cache is used only if its hash is right: a damaged one is fetched again.
    """

    def __init__(self, store: Store, cache: LocalFolder | None = None) -> None:
        self.store = store
        self._cache = cache

    def address(self, sha256: str) -> str:
        """Return where the file with that content is: a path, or a URL."""
        return self.store.address(name_of(sha256))

    def write(self, data: bytes) -> str:
        """Store `data` durably, and return its SHA-256. Raises RegistryError, and then there is no such file."""
        sha256 = digest(data)
        self.store.write(name_of(sha256), data)
        self._write_to_cache(sha256, data)
        return sha256

    def read(self, sha256: str) -> bytes | None:
        """Return a file's bytes, from the cache if they are whole there, otherwise unchecked; None without a file."""
        cached = self._read_cached(name_of(sha256))
        if cached is not None and digest(cached) == sha256:
            return cached
        data = self.read_from_store(name_of(sha256))
        if data is not None and digest(data) == sha256:
            self._write_to_cache(sha256, data)
        return data

    def intact(self, sha256: str, what: str, way_out: str) -> bytes:
        """Return a file's bytes. Raises CorruptRegistryError where it is missing or damaged.

        Args:
            what: what the file is; the message begins with it.
            way_out: the end of the message, after "put the file back from a copy".
        """
        data = self.read(sha256)
        if data is None or digest(data) != sha256:
            state = "is missing" if data is None else "is not what was stored"
            raise CorruptRegistryError(
                f"{what} {state}: {self.address(sha256)}; put the file back from a copy{way_out}"
            )
        return data

    def read_from_store(self, name: str) -> bytes | None:
        """Return the bytes of the file of that name, unchecked and never from the cache; None without a file."""
        return self.store.read(name)

    def discard(self, hashes: Sequence[str]) -> None:
        """Move adapters that no row names any more into the trash, where `restore` finds them for a while.

        Raises CorruptRegistryError for what is no SHA-256.
        """
        self.store.move([(name_of(sha256), trash.name_today(sha256)) for sha256 in hashes])
        self._forget(map(name_of, hashes))

    def delete(self, names: Iterable[str]) -> None:
        """Delete what no row ever named: the file of a commit that failed, or an interrupted write.

        Raises CorruptRegistryError for a name that no registry gives.
        """
        for name in names:
            if not _OWN.fullmatch(name):
                raise CorruptRegistryError(f"{name!r:.80} is no file of a registry, so it is not deleted")
            self.store.delete(name)
            self._forget([name])

    def _forget(self, names: Iterable[str]) -> None:
        """Delete files in the cache."""
        for name in names if self._cache else ():
            assert self._cache is not None
            self._cache.delete(name)

    def adapters(self) -> list[Stored]:
        """Return every adapter file, whatever its name, in a stable order."""
        return [file for file in self.store.files() if file.name.endswith(_SUFFIX)]

    def own(self) -> list[Stored]:
        """Return every adapter that only a registry can have written, with those whose writing was interrupted."""
        return [file for file in self.store.files() if _OWN.fullmatch(file.name)]

    def registry_id(self) -> str | None:
        """Return which registry the files belong to; None where nothing says it.

        Raises CorruptRegistryError where the file that says it holds something else.
        """
        data = self.store.read(ID_FILE)
        if data is None:
            return None
        return require_registry_id(data[:_LONGEST_ID].decode(errors="replace").strip(), self.store.address(ID_FILE))

    def write_registry_id(self, registry_id: str) -> None:
        """Say which registry the files belong to. Raises RegistryError where the store cannot be written."""
        self.store.write(ID_FILE, f"{registry_id}\n".encode())

    def _read_cached(self, name: str) -> bytes | None:
        """Return a file of the cache; None also for what a colleague put there and this user cannot read."""
        with suppress(RegistryError):
            return self._cache.read(name) if self._cache else None
        return None

    def _write_to_cache(self, sha256: str, data: bytes) -> None:
        if self._cache:
            with suppress(RegistryError):  # a full disk here is no reason to fail
                self._cache.prepare()
                self._cache.write(name_of(sha256), data)


def name_of(sha256: str) -> str:
    """Return the name of the file with that content. Raises CorruptRegistryError for what is no SHA-256."""
    return f"{require_sha256(sha256)}{_SUFFIX}"


def is_temporary(name: str) -> bool:
    """Return whether one of a registry's own files is one whose writing was interrupted."""
    return name.endswith(".tmp")


def digest(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
