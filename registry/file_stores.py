"""Where adapter files can be stored. A file there is whole or not there at all, and never changes.

`LocalFolder` is a folder of this machine's file system; `registry.remote_store.RemoteStore` is whatever fsspec reaches.
"""

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from cl_ast.errors import RegistryError
from registry.crash_points import crash_point
from registry.errors import file_errors


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in a store: its name there, its size in bytes, and when it was written in seconds since 1970."""

    name: str
    bytes: int
    written: float


class Store(Protocol):
    """A folder of files, with one level of folders in it: a name is `file` or `folder/file`.

    Every method raises RegistryError where the store fails.

    Attributes:
        place: where it is, for people to read; never with a password.
        writable: False where nothing can be written for certain.
    """

    @property
    def place(self) -> str: ...
    @property
    def writable(self) -> bool: ...

    def prepare(self) -> None:
        """Make the folder, if stores of this kind need one."""

    def address(self, name: str) -> str:
        """Return where that file is or would be, for people to read."""

    def write(self, name: str, data: bytes) -> None:
        """Store `data` durably. A crash leaves at most a file that no row names, and an error leaves none."""

    def read(self, name: str) -> bytes | None:
        """Return the file's bytes, unchecked; None where there is no such file."""

    def delete(self, name: str) -> None:
        """Delete a file that no row names any more. If it stays, that does no harm: `gc` finds it again."""

    def move(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Give files other names, durably; those that are not there are left out. A crash leaves each in one piece."""

    def files(self, folder: str = "") -> Sequence[Stored]:
        """Return every file, or every file of a folder in it, sorted by name; the names are those in that folder."""


class LocalFolder:
    """A folder on a disk of this machine, or on one that is mounted here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def place(self) -> str:
        return str(self.folder)

    @property
    def writable(self) -> bool:
        """Whether a file can be made there; for a folder to come, whether it can be made in the nearest that exists."""
        existing = next(folder for folder in (self.folder, *self.folder.parents) if folder.exists())
        return os.access(existing, os.W_OK)

    def prepare(self) -> None:
        with file_errors(self.folder, "make a registry in"):
            self.folder.mkdir(parents=True, exist_ok=True)

    def address(self, name: str) -> str:
        return str(self.folder / name)

    def write(self, name: str, data: bytes) -> None:
        with file_errors(self.folder, "write an adapter into"):
            self.folder.mkdir(exist_ok=True)  # a copy of an empty registry may lack it
            with whole_file(self.folder / name, self.folder / f".{secrets.token_hex(8)}.tmp") as file:
                file.write(data)

    def read(self, name: str) -> bytes | None:
        path = self.folder / name
        with file_errors(path, "read"):
            try:
                if path.exists() and not path.is_file():  # reading a pipe would never end
                    raise RegistryError(f"{path} is not a regular file: move it away")
                return path.read_bytes()
            except FileNotFoundError:
                return None

    def delete(self, name: str) -> None:
        with suppress(OSError):
            crash_point("delete file")
            (self.folder / name).unlink()

    def move(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Rename the files, then sync where they came before where they were: none is lost by a power cut."""
        came, left = set(), set()
        with file_errors(self.folder, "move an adapter in"):
            for source, target in pairs:
                path = self.folder / target
                if not path.parent.is_dir():
                    crash_point("make folder")
                    path.parent.mkdir(exist_ok=True)
                    left.add(path.parent.parent)
                with suppress(FileNotFoundError):
                    crash_point("move file")
                    (self.folder / source).replace(path)
                    came.add(path.parent)
                    left.add((self.folder / source).parent)
            for folder in (*sorted(came), *sorted(left - came)):
                sync_folder(folder)

    def files(self, folder: str = "") -> list[Stored]:
        found = []
        place = self.folder / folder
        with file_errors(place, "list"):
            if not place.is_dir():
                return []
            with os.scandir(place) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):  # another process was faster
                        if entry.is_file():
                            facts = entry.stat()
                            found.append(Stored(entry.name, facts.st_size, facts.st_mtime))
        return sorted(found, key=lambda file: file.name)


def size(path: Path) -> int:
    """Return the size in bytes; 0 where there is no such file, or no longer."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


@contextmanager
def whole_file(path: Path, temporary: Path | None = None) -> Iterator[BinaryIO]:
    """Let the block write a file that gets its name only once it is whole and on the disk.

    A crash leaves at most the temporary file, and an error leaves none; what was there before is then as it was.

    Args:
        temporary: the name until then, in the same folder; a hidden one beside `path` by default.

    Raises:
        OSError: the file cannot be written.
    """
    temporary = temporary or path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        crash_point("create file")
        with temporary.open("xb") as file:
            crash_point("write file")
            yield file
            file.flush()
            crash_point("sync file")
            os.fsync(file.fileno())
        crash_point("rename file")
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` outlive a power loss. Windows cannot open a folder, and does not need it."""
    if os.name == "nt":
        return
    crash_point("sync folder")
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
