"""The adapter files: named by the SHA-256 of their content, written whole or not at all, never changed."""

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cl_ast.errors import RegistryError
from registry.steps import reached

_SUFFIX = ".safetensors"
_OURS = re.compile(r"[0-9a-f]{64}\.safetensors|\.[0-9a-f]{16}\.tmp")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


class AdapterFiles:
    """The folder `adapters/` of one registry."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        return self.folder / f"{sha256}{_SUFFIX}"

    def write(self, data: bytes) -> str:
        """Put `data` on the disk for good, and return its SHA-256.

        It has its name only once it is whole and on the disk: a crash leaves at most a temporary file, an
        error nothing. Raises RegistryError where the disk is full or the folder cannot be written.
        """
        sha256 = digest(data)
        temporary = self.folder / f".{secrets.token_hex(8)}.tmp"
        with file_errors(self.folder, "write an adapter into"):
            self.folder.mkdir(exist_ok=True)  # a copy of an empty registry may lack it
            try:
                reached("create file")
                with temporary.open("xb") as file:
                    reached("write file")
                    file.write(data)
                    file.flush()
                    reached("sync file")
                    os.fsync(file.fileno())
                reached("rename file")
                temporary.replace(self.path(sha256))
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            sync_folder(self.folder)
        return sha256

    def read(self, sha256: str) -> bytes | None:
        """The file's bytes, unchecked; None where there is none. Raises RegistryError."""
        path = self.path(sha256)
        with file_errors(path, "read"):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

    def delete(self, path: Path) -> None:
        """Drop a file that nothing names any more. That it stays is no harm: `gc` meets it again."""
        with suppress(OSError):
            reached("delete file")
            path.unlink()

    def adapters(self) -> list[Path]:
        """Every adapter file, whatever its name, in a stable order."""
        return [path for path in self._all() if path.suffix == _SUFFIX]

    def ours(self) -> list[Path]:
        """Every file that only a registry can have written, interrupted writes included."""
        return [path for path in self._all() if _OURS.fullmatch(path.name)]

    def total(self) -> int:
        return sum(size(path) for path in self._all())

    def _all(self) -> list[Path]:
        with file_errors(self.folder, "list"):
            if not self.folder.is_dir():
                return []
            return sorted(path for path in self.folder.iterdir() if path.is_file())


def size(path: Path) -> int:
    """Bytes on disk, 0 where there is no such file (any more)."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` outlive a power loss. Windows can neither open a folder nor needs it."""
    if os.name == "nt":
        return
    reached("sync folder")
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def file_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn an OSError into a RegistryError that says what to do."""
    try:
        yield
    except OSError as error:
        raise RegistryError(f"cannot {doing} {path}: {_advice(error)}") from error


def _advice(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return f"no space is left there ({reason}); nothing was changed, free some and try again"
    if error.errno in _DENIED:
        return f"you may not ({reason}); change its permissions or use another registry"
    return reason
