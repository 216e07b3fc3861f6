"""The folder that a backup goes to: what may be there already, and how it gets its content in one step at the end.

    registry.db.unfinished     the rows; it becomes registry.db in the last step
    adapters.unfinished/       files that are not in adapters/ yet
    backup.json                of which registry it is a backup, and the SHA-256 of its last two databases

So a backup that was killed has no registry.db, or still the former one; the next backup into the folder goes on with
the files that are there. A registry.db that backup.json does not know was changed since, and is never replaced.
"""

import hashlib
import json
import os
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from cl_ast.errors import RegistryError
from registry import sqlite_replace, trash
from registry.adapter_files import ID_FILE, AdapterFiles, digest, is_own, is_temporary
from registry.crash_points import crash_point
from registry.errors import file_errors
from registry.file_stores import LocalFolder, size, sync_folder

_MARK = "backup.json"
_LONGEST_MARK = 100_000
_PRIVATE = 0o700


class BackupFolder:
    """See above. Every method raises RegistryError where the disk fails.

    Attributes:
        place: the folder, for people to read.
        snapshot: the file in which the new database is made.
    """

    def __init__(
        self, folder: Path, identity: str, rights: os.stat_result | None, registry_id: str | None = None
    ) -> None:
        """
        Args:
            identity: says which registry is backed up.
            rights: of the folder of that registry; None for a private folder.
            registry_id: what stands beside its adapters; None where nothing does yet.
        """
        self.place = str(folder)
        self.snapshot = folder / "registry.db.unfinished"
        self._folder = folder
        self._database = folder / "registry.db"
        self._identity = identity
        self._rights = rights
        self._registry_id = registry_id
        self._adapters = folder / "adapters"
        self._new = folder / "adapters.unfinished"
        self._made = False
        self._whole: set[str] = set()  # files that were looked at
        self._expected: frozenset[str] = frozenset()

    def prepare(self) -> None:
        """Make the folder where there is none. Raises RegistryError where something else is there."""
        folder = self._folder
        with file_errors(folder, "make a backup in"):
            if not folder.parent.is_dir():
                raise RegistryError(f"there is no folder {folder.parent}: make it, or see whether its disk is mounted")
            if folder.exists() and not folder.is_dir():
                raise RegistryError(f"{folder} is a file: name a folder for the backup")
            if not folder.exists():
                crash_point("make folder")
                folder.mkdir(_PRIVATE)
                self._made = True
                if self._rights is not None:
                    sqlite_replace.give_rights(folder, self._rights, _PRIVATE)
                sync_folder(folder.parent)
            self._check()
            self._new.mkdir(_PRIVATE, exist_ok=True)

    def _check(self) -> None:
        """Raise RegistryError unless the folder is empty, or has an unfinished backup or an unchanged former one."""
        there = {path.name: path for path in self._folder.iterdir()}
        mark = self._read_mark()
        if mark and mark.get("of") != self._identity:
            raise RegistryError(f"{self.place} is the backup of another registry: name another folder")
        if mark:
            sqlite_replace.finish(self._database)  # a backup that was killed just before its end
        for name in ("adapters", "adapters.unfinished"):
            if name in there and not stat.S_ISDIR(there[name].lstat().st_mode):
                raise RegistryError(f"{there[name]} is no folder: name another folder for the backup")
        if os.path.lexists(self._database):
            if not mark:
                raise RegistryError(f"{self.place} is a registry and no backup: name a new folder for the backup")
            if size(sqlite_replace.wal(self._database)) or _sha256(self._database) not in mark.get("databases", []):
                raise RegistryError(
                    f"{self.place} was changed since it was made as a backup, so it is not replaced: "
                    "name a new folder for the backup"
                )
            return
        begun = self.snapshot.name in there
        others = sorted(name for name in there if not (self._is_ours(name) or (begun and name == "adapters")))
        if others:
            raise RegistryError(f"{self.place} has {', '.join(others[:3])}: name a new or empty folder for the backup")

    def _is_ours(self, name: str) -> bool:
        unfinished = name.startswith(self.snapshot.name) or name in (self._new.name, _MARK)
        return unfinished or (is_own(name) and is_temporary(name))

    def expect(self, names: Collection[str]) -> None:
        """Learn which files the new rows name; those of former backups that are not among them go to the trash."""
        self._expected = frozenset(names)

    def make_snapshot(self, like: os.stat_result | None) -> None:
        """Make an empty file for the new database, with these rights; what a killed backup left there goes."""
        path = self.snapshot
        with file_errors(self._folder, "make a backup in"):
            crash_point("create database")
            self._remove_snapshot()
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            if like is not None:
                sqlite_replace.give_rights(path, like, 0o600)

    def has(self, name: str, sha256: str) -> bool:
        """Return whether a file is there and whole; links do not count, as what they point at is not the backup's."""
        for folder in (self._adapters, self._new) if name not in self._whole else ():
            with suppress(OSError, RegistryError):
                if not (folder / name).is_symlink() and digest(LocalFolder(folder).read(name) or b"") == sha256:
                    self._whole.add(name)
        return name in self._whole

    def write(self, name: str, data: bytes, like: os.stat_result | None) -> None:
        """Store a file durably, with these rights; nobody else can read it before it has them."""
        LocalFolder(self._new).write(name, data)
        if like is not None:
            with file_errors(self._new, "write an adapter into"):
                sqlite_replace.give_rights(self._new / name, like, 0o600)
        self._whole.add(name)

    def finish(self, adapters: os.stat_result | None, *, keep_former: bool) -> str | None:
        """Put the new files and then the new database in place; return where the former one is, if it is kept.

        Args:
            adapters: the rights of the folder of the files.
        """
        with file_errors(self._folder, "finish the backup in"):
            if size(sqlite_replace.wal(self.snapshot)):
                raise RegistryError(f"{self.snapshot} could not be finished: free some space and try again")
            known = (self._read_mark() or {}).get("databases", [])
            words = {"of": self._identity, "databases": [*known[-1:], _sha256(self.snapshot)]}
            LocalFolder(self._folder).write(_MARK, json.dumps(words).encode())
            self._move_files(adapters)
            if self._registry_id is not None:
                AdapterFiles(LocalFolder(self._adapters)).write_registry_id(self._registry_id)
                sqlite_replace.give_rights(self._adapters / ID_FILE, self.snapshot.stat(), 0o600)
            former = sqlite_replace.put_in_place(self._database, self.snapshot)
            if former is not None and not keep_former:
                sqlite_replace.wal(former).unlink(missing_ok=True)
                former.unlink(missing_ok=True)
                former = None
            self._drop_unnamed()
        return None if former is None else str(former)

    def _drop_unnamed(self) -> None:
        """Move the files that no row names any more to the trash: else they would look like tasks that were lost."""
        files = LocalFolder(self._adapters)
        unnamed = [
            one.name for one in AdapterFiles(files).adapters() if is_own(one.name) and one.name not in self._expected
        ]
        files.move([(name, trash.name_today(name[:64])) for name in unnamed])

    def abandon(self) -> None:
        """Remove what the next backup into the folder cannot use: all but the files that were copied."""
        with suppress(OSError):
            if self._new.is_dir():
                self._remove_snapshot()
                self._new.rmdir()
            if self._made:
                self._folder.rmdir()  # unless it has files

    def _remove_snapshot(self) -> None:
        path = self.snapshot
        for leftover in (sqlite_replace.journal(path), sqlite_replace.wal(path), sqlite_replace.shm(path), path):
            leftover.unlink(missing_ok=True)

    def _move_files(self, rights: os.stat_result | None) -> None:
        crash_point("rename files")
        if self._adapters.exists():
            for path in self._new.iterdir():
                path.replace(self._adapters / path.name)
            sync_folder(self._adapters)
            self._new.rmdir()
        else:
            if rights is not None:
                sqlite_replace.give_rights(self._new, rights, _PRIVATE)
            self._new.rename(self._adapters)
        sync_folder(self._folder)

    def _read_mark(self) -> dict[str, Any] | None:
        """Return what backup.json says; None where there is none, or something else."""
        path = self._folder / _MARK
        with suppress(OSError, ValueError, RecursionError):
            if stat.S_ISREG(path.lstat().st_mode) and size(path) < _LONGEST_MARK:
                words = json.loads(path.read_bytes())
                if isinstance(words, dict) and isinstance(words.get("databases"), list):
                    return words
        return None


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file; of a link, a pipe or a device nothing that a file has."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
