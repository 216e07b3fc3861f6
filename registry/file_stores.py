"""Where files can be kept: whole or not at all, under names that say what is in them, never changed.

`LocalFolder` is a folder that is mounted here, `registry.remote_store.RemoteStore` anything that fsspec reaches.
"""

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from registry.errors import file_errors
from registry.steps import reached


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in a store: its name there, how long it is, and when it was written (seconds since 1970)."""

    name: str
    bytes: int
    written: float


class Store(Protocol):
    """A flat folder of files. Every method raises RegistryError, in plain words, where the store fails.

    Attributes:
        place: where it is, as people read it; never with a password.
        writable: False where it is known that nothing can be written.
    """

    @property
    def place(self) -> str: ...
    @property
    def writable(self) -> bool: ...

    def prepare(self) -> None:
        """Make the folder where stores of this kind need one."""

    def address(self, name: str) -> str:
        """Where that file is or would be, as people read it."""

    def write(self, name: str, data: bytes) -> None:
        """Keep `data` for good. A crash leaves at most a file that nothing names, an error none."""

    def read(self, name: str) -> bytes | None:
        """The file's bytes, unchecked; None where there is none."""

    def delete(self, name: str) -> None:
        """Drop a file that nothing names any more. That it stays is no harm: `gc` meets it again."""

    def files(self) -> Sequence[Stored]:
        """Every file, by name."""


class LocalFolder:
    """A folder on a disk of this machine, or one that is mounted here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def place(self) -> str:
        return str(self.folder)

    @property
    def writable(self) -> bool:
        """Whether a file can be made there, or the folder in the nearest one that exists."""
        existing = next(folder for folder in (self.folder, *self.folder.parents) if folder.exists())
        return os.access(existing, os.W_OK)

    def prepare(self) -> None:
        with file_errors(self.folder, "make a registry in"):
            self.folder.mkdir(parents=True, exist_ok=True)

    def address(self, name: str) -> str:
        return str(self.folder / name)

    def write(self, name: str, data: bytes) -> None:
        """It has its name only once it is whole and on the disk: a crash leaves at most a temporary file."""
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
                temporary.replace(self.folder / name)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            sync_folder(self.folder)

    def read(self, name: str) -> bytes | None:
        path = self.folder / name
        with file_errors(path, "read"):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

    def delete(self, name: str) -> None:
        with suppress(OSError):
            reached("delete file")
            (self.folder / name).unlink()

    def files(self) -> list[Stored]:
        found = []
        with file_errors(self.folder, "list"):
            if not self.folder.is_dir():
                return []
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):  # another process was faster
                        if entry.is_file():
                            facts = entry.stat()
                            found.append(Stored(entry.name, facts.st_size, facts.st_mtime))
        return sorted(found, key=lambda file: file.name)


def size(path: Path) -> int:
    """Bytes on disk, 0 where there is no such file (any more)."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


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
