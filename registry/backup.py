"""Copies a registry while it is in use, as it is at one moment.

The rows are read in one transaction, and the files that they name are copied afterwards. A file that is gone by then
means that somebody removed or renamed its task: the rows are read again, and only what is new is copied.
"""

import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

from cl_ast.errors import RegistryError
from cl_ast.progress import Progress, Step, silent
from registry import rows, shared_parts, trash
from registry.adapter_files import AdapterFiles, digest, name_of
from registry.backup_folder import BackupFolder
from registry.database import Database, Reader, Writer
from registry.errors import file_errors
from registry.file_stores import LocalFolder
from registry.locations import Located, locate
from registry.maintenance import READERS
from registry.records import BackupReport, Problem
from registry.sqlite_database import SqliteDatabase, SqliteLocation

_TRIES = 20


def backup(database: Database, files: AdapterFiles, dest: str | Path, progress: Progress = silent) -> BackupReport:
    """Copy a registry to another place, where the copy is a registry, too.

    Args:
        dest: a folder that is new, empty, or a former backup that nobody changed since: then only what is missing is
            copied. Or the URL of a place without tables and adapters, such as a team's new one.

    What is damaged is left out and reported. Raises RegistryError where something else is at `dest`, or where it cannot
    be written. Then, and where the process is killed, a former backup stays, and a new folder is no registry.
    """
    origin = _Origin(database, files)
    with _target(origin, dest) as target:
        for _ in range(_TRIES):
            snapshot = _snapshot(origin, target)
            target.expect([name_of(file.sha256) for file in snapshot.files])
            problems, gone = _copy_files(origin, target, snapshot.files, progress)
            if not gone:
                break
        else:
            raise RegistryError(f"{database.place} changes faster than it can be copied: try again later")
        former = target.finish(origin.rights_of_files(), keep_former=bool(snapshot.left_out))
    left_out = [Problem(None, database.place, what) for what in snapshot.left_out]
    total = sum(file.bytes for file in snapshot.files)
    return BackupReport(
        target.place,
        snapshot.moment,
        snapshot.tasks,
        snapshot.versions,
        total,
        (*left_out, *problems),
        former,
    )


@dataclass
class _Origin:
    """The registry that is backed up."""

    database: Database
    files: AdapterFiles

    @cached_property
    def registry_id(self) -> str | None:
        """The id of the registry; None where no change has given it one yet."""
        with self.database.read() as reader:
            return rows.registry_id(reader) or self.files.registry_id()

    @property
    def identity(self) -> str:
        """Which registry it is: its id, or where it is."""
        return self.registry_id or str(self.path or self.database.place)

    @property
    def path(self) -> Path | None:
        """The database's file; None on a server."""
        return self.database.path if isinstance(self.database, SqliteDatabase) else None

    @property
    def folders(self) -> list[Path]:
        """The folders of this machine that it lives in."""
        store = self.files.store
        found = [self.path.parent] if self.path else []
        return [*found, store.folder] if isinstance(store, LocalFolder) else found

    def rights(self) -> os.stat_result | None:
        """Return the rights of its database's file; None on a server."""
        return _stat(self.path) if self.path else None

    def rights_of_files(self) -> os.stat_result | None:
        """Return the rights of the folder of its files, or of its database's folder; None where both are elsewhere."""
        return _stat(self.folders[-1]) if self.folders else None

    def rights_of_file(self, name: str) -> os.stat_result | None:
        """Return the rights of one of its files; of one in a bucket, those of the database."""
        store = self.files.store
        return (_stat(store.folder / name) if isinstance(store, LocalFolder) else None) or self.rights()


class _File(NamedTuple):
    """A file that the rows name: its content and size, the task that it belongs to, and what it is in words."""

    sha256: str
    bytes: int
    task: str | None
    what: str


class _Snapshot(NamedTuple):
    """The rows at one moment, which the target has, and what was left out of them in words."""

    moment: datetime
    tasks: int
    versions: int
    files: Sequence[_File]
    left_out: Sequence[str]


class _Target(Protocol):
    """Where a backup goes. `BackupFolder` says what the methods do."""

    @property
    def place(self) -> str: ...
    @property
    def snapshot(self) -> Path: ...
    def prepare(self) -> None: ...
    def expect(self, names: Collection[str]) -> None: ...
    def make_snapshot(self, like: os.stat_result | None) -> None: ...
    def has(self, name: str, sha256: str) -> bool: ...
    def write(self, name: str, data: bytes, like: os.stat_result | None) -> None: ...
    def finish(self, adapters: os.stat_result | None, *, keep_former: bool) -> str | None: ...


@contextmanager
def _target(origin: _Origin, dest: str | Path) -> Iterator[_Target]:
    """Prepare the place for the backup. Raises RegistryError where it cannot be there."""
    folder = Path(dest).expanduser().absolute() if isinstance(dest, Path) or "://" not in dest else None
    if folder and folder.is_symlink():
        raise RegistryError(f"{folder} is a link: name the folder for the backup itself")
    located = locate(dest)
    store = located.files.store
    wanted = [folder] if folder else []
    if isinstance(located.database, SqliteLocation):
        wanted.append(located.database.path.parent)
    if isinstance(store, LocalFolder):
        wanted.append(store.folder)
    for path in wanted:
        if any(path.resolve().is_relative_to(own.resolve()) for own in origin.folders):
            raise RegistryError(f"{path} is in the registry that is to be backed up: name a folder elsewhere")
    if store.place == origin.files.store.place:
        raise RegistryError(f"{store.place} is where the adapters of this registry are: name another place")
    if folder:
        rights = _stat(origin.path.parent) if origin.path else None
        target = BackupFolder(folder, origin.identity, rights, origin.registry_id)
        target.prepare()
        try:
            yield target
        except BaseException:
            target.abandon()
            raise
        return
    with tempfile.TemporaryDirectory(prefix="cl-ast-backup-") as temporary:
        elsewhere = _Elsewhere(located, Path(temporary) / "registry.db", origin.registry_id)
        elsewhere.prepare()
        yield elsewhere


class _Elsewhere:
    """A server or a store far away, which must be empty: the way back of a team's registry.

    The files come first, and then all rows in one transaction.
    """

    def __init__(self, located: Located, snapshot: Path, registry_id: str | None) -> None:
        self.place = located.database.place
        self.snapshot = snapshot
        self._located = located
        self._registry_id = registry_id

    def prepare(self) -> None:
        if self._located.database.open() is not None:
            raise self._taken()
        if self._located.files.registry_id() not in (None, self._registry_id):
            raise RegistryError(
                f"{self._located.files.store.place} belongs to another registry: name a place without adapters"
            )
        self._located.files.store.prepare()

    def make_snapshot(self, like: os.stat_result | None) -> None:
        with file_errors(self.snapshot, "write the rows to"):
            self.snapshot.unlink(missing_ok=True)

    def has(self, name: str, sha256: str) -> bool:
        return digest(self._located.files.store.read(name) or b"") == sha256

    def write(self, name: str, data: bytes, like: os.stat_result | None) -> None:
        self._located.files.store.write(name, data)

    def expect(self, names: Collection[str]) -> None:
        """Raise RegistryError where the store has other adapters; its own are there after a killed backup."""
        others = {file.name for file in self._located.files.adapters()} - set(names)
        if others:
            raise RegistryError(
                f"{self._located.files.store.place} has {len(others)} adapters that the registry does not name, and "
                "they belong to another one: name a place without adapters, or, to make a database for those that are "
                "there, run `cl-ast rebuild`"
            )

    def finish(self, adapters: os.stat_result | None, *, keep_former: bool) -> str | None:
        if self._registry_id is not None:
            self._located.files.write_registry_id(self._registry_id)
        self._located.database.rebuild(self._plan)
        return None

    def _plan(self, former: Reader | None) -> Callable[[Writer], None]:
        if former is not None:
            raise self._taken()

        def fill(writer: Writer) -> None:
            from registry import table_copy

            source = SqliteDatabase(self.snapshot, "rw")
            with source.read() as reader:
                table_copy.copy(source, reader, writer)

        return fill

    def _taken(self) -> RegistryError:
        return RegistryError(f"there is a registry at {self.place}: name a place without one")


def _snapshot(origin: _Origin, target: _Target) -> _Snapshot:
    """Read all rows at one moment, and write them to a new database."""
    from registry import table_copy

    target.make_snapshot(origin.rights())
    copy = SqliteLocation(target.snapshot).make()
    assert isinstance(copy, SqliteDatabase)
    with copy.write() as writer, origin.database.read(every_table=True) as reader:
        moment = datetime.now(UTC)
        left_out = table_copy.copy_checked(origin.database, reader, writer)
    with copy.read() as reader:
        versions = rows.versions(reader)
        files = [_File(v.adapter_sha256, v.adapter_bytes, v.task, f"version {v.number}") for v in versions]
        for part in shared_parts.listed(reader):
            files.append(_File(part.sha256, part.bytes, None, f'the shared part "{part.name}"'))
        return _Snapshot(moment, rows.count(reader), len(versions), files, left_out)


def _copy_files(
    origin: _Origin, target: _Target, files: Sequence[_File], progress: Progress
) -> tuple[list[Problem], bool]:
    """Copy what the target does not have; return what could not be copied, and whether the rows are out of date."""
    problems = []
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(lambda file: _copy_file(origin, target, file), files)
        for done, (file, what) in enumerate(zip(files, found, strict=True), 1):
            progress(Step("copying files", done, len(files)))
            if what is None:
                continue
            if _is_gone(origin.database, file):
                return [], True
            problems.append(Problem(file.task, origin.files.address(file.sha256), what))
    return problems, False


def _copy_file(origin: _Origin, target: _Target, file: _File) -> str | None:
    """Copy a file, and return what is wrong with it; None where the target has it whole."""
    sha256, name = file.sha256, name_of(file.sha256)
    if target.has(name, sha256):
        return None
    try:
        data = origin.files.read(sha256)
        rights = origin.rights_of_file(name)
        # A colleague may have dropped it since its row was read.
        data = trash.read(origin.files.store, sha256) if data is None else data
    except RegistryError as error:
        return str(error)
    if data is None:
        return f"the file of {file.what} is missing"
    if digest(data) != sha256:
        return f"the file of {file.what} is not what was stored: its SHA-256 differs"
    target.write(name, data, rights)
    return None


def _is_gone(database: Database, file: _File) -> bool:
    """Return whether no row names the file any more."""
    with database.read() as reader:
        return not rows.files_named(reader, [file.sha256])


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
