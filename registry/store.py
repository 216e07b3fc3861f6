"""The registry itself: what can be asked of it and done to it. How it is changed is in `changes`."""

from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from cl_ast.errors import CorruptRegistryError, RegistryError, TaskNotFoundError
from registry import changes, history, maintenance, rebuilding, rows
from registry.database import Database
from registry.files import AdapterFiles, file_errors, size, sync_folder
from registry.models import BackboneRow, VersionRow
from registry.records import (
    Accuracy,
    BackboneRecord,
    GcReport,
    Measurement,
    Mode,
    NewVersion,
    Problem,
    RebuildReport,
    Storage,
    TaskRecord,
    VersionRecord,
)


class Registry:
    """Tasks, the versions of their adapters and what was measured. Make one with `Registry.open`.

    It may be used from several threads and processes at once. Every method raises RegistryError, in plain
    words, where the database or the disk fails; what else one raises, it says.
    """

    def __init__(self, database: Database, files: AdapterFiles) -> None:
        self._database = database
        self._files = files

    @classmethod
    def open(cls, location: str | Path, *, create: bool = True) -> "Registry":
        """The registry in a folder, or at `sqlite:///…/registry.db`, made where there is none.

        A folder that can only be read is opened for reading. Raises RegistryError where the place holds
        something else, was written by a newer cl-ast, or (`create=False`) holds nothing;
        CorruptRegistryError where its database is damaged or missing beside its adapters.
        """
        path = database_path(location)
        rebuilding.finish(path)
        files = AdapterFiles(path.parent / "adapters")
        # Looked for again after the adapters: another process may be making the same registry just now.
        database = Database.open(path) or (Database.open(path) if files.adapters() else None)
        if database is not None:
            return cls(database, files)
        if files.adapters():
            raise CorruptRegistryError(
                f"{path} is lost, but {files.folder} holds adapters: restore it with `cl-ast rebuild`"
            )
        if not create:
            raise RegistryError(f"there is no registry in {path.parent}")
        with file_errors(path.parent, "make a registry in"):
            files.folder.mkdir(parents=True, exist_ok=True)
            database = Database.make(path)
            sync_folder(path.parent)
        return cls(database, files)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> "Registry":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        return self._database.path.parent

    @property
    def writable(self) -> bool:
        return self._database.writable

    @property
    def backbone(self) -> BackboneRecord | None:
        """The trunk that every adapter here was learned on; None until `set_backbone`."""
        with self._database.read() as session:
            return rows.backbone(session)

    def set_backbone(self, record: BackboneRecord) -> BackboneRecord:
        """Say once what the trunk is, and get what is stored.

        The same trunk again changes nothing, but fills in a `background` that is missing (as after
        `rebuild`). Raises RegistryError for another one.
        """
        with self._database.write() as session:
            row = session.get(BackboneRow, rows.BACKBONE_ID)
            if row is None:
                row = BackboneRow(
                    id=rows.BACKBONE_ID,
                    name=record.name,
                    fingerprint=record.fingerprint,
                    parameters=record.parameters,
                    bytes=record.bytes,
                    background=record.background,
                )
                session.add(row)
            elif row.fingerprint != record.fingerprint:
                raise RegistryError(
                    f"the registry in {self.folder} has the trunk {row.name} ({row.fingerprint}), and "
                    f"{record.name} ({record.fingerprint}) is another: use the first, or another registry"
                )
            elif not row.background:
                row.background = record.background
            return BackboneRecord(row.name, row.fingerprint, row.parameters, row.bytes, row.background)

    def tasks(self) -> list[TaskRecord]:
        """Every task, in learning order: that in which the current versions were learned.

        A replaced task moves to the end, and back if it is rolled back. `matrix` and `confusion` have this
        order.
        """
        with self._database.read() as session:
            return rows.tasks(session)

    def task(self, name: str) -> TaskRecord:
        """The task of that name, whatever its case. Raises TaskNotFoundError."""
        with self._database.read() as session:
            return rows.task(session, rows.require(session, name).id)

    def current(self, names: Collection[str]) -> dict[str, VersionRecord]:
        """The version that answers for each name, whatever its case, as they all are at one moment.

        One question for many: a batch of clips asks this. Raises TaskNotFoundError.
        """
        with self._database.read() as session:
            found = rows.current(session, names)
            for name in set(names) - set(found):  # one that is not there, or another spelling
                found[name] = rows.task(session, rows.require(session, name).id).version
            return found

    def versions(self, name: str) -> list[VersionRecord]:
        """Every version of a task that is kept, oldest first. Raises TaskNotFoundError."""
        with self._database.read() as session:
            task_id = rows.require(session, name).id
            found = session.execute(rows.versions().where(VersionRow.task_id == task_id))
            return [rows.version_record(row) for row in found]

    def commit(
        self,
        name: str,
        adapter: bytes,
        new: NewVersion,
        measured: Sequence[Accuracy] = (),
        *,
        replace: bool = False,
    ) -> TaskRecord:
        """Keep a learned adapter and what was measured right after, as a new task or its next version.

        With `replace`, a name that is taken is the task's next version. `adapter` is a safetensors file.
        The stored one has the same tensors, and the `cl_ast` entry of its header is completed with all that
        is known here, so that it describes itself. All of this happens, or nothing.

        Raises TaskExistsError for a name that is taken, TaskNotFoundError for a measured task that is not
        here, RegistryError for a name that cannot be, an adapter of another trunk, a full disk or a
        read-only folder, CorruptRegistryError where `adapter` is not such a file.
        """
        return changes.commit(self._database, self._files, name, adapter, new, measured, replace=replace)

    def remove(self, name: str) -> None:
        """Forget a task: its versions, what was measured of it, and its files. Its ids are never given again.

        Should the process die before the files are gone, `gc` drops them; until then `rebuild` would bring
        the task back. Raises TaskNotFoundError.
        """
        changes.remove(self._database, self._files, name)

    def rename(self, old: str, new: str) -> TaskRecord:
        """Give a task another name. Its files are written anew, since they carry it; their tensors stay.

        Raises TaskNotFoundError, TaskExistsError, and RegistryError for a name that cannot be.
        """
        return changes.rename(self._database, self._files, old, new)

    def rollback(self, name: str, version: int | None = None) -> VersionRecord:
        """Let an earlier version answer for a task again: that one, or the one before the current.

        Nothing is deleted until `gc`. Raises TaskNotFoundError, RegistryError where there is no such version,
        CorruptRegistryError where its file is damaged.
        """
        return changes.rollback(self._database, self._files, name, version)

    def adapter_path(self, version: VersionRecord) -> Path:
        """Where the file of a version is. Read it with `read_adapter`, which checks it."""
        return self._files.path(version.adapter_sha256)

    def read_adapter(self, version: VersionRecord) -> bytes:
        """The bytes of a version's file, its SHA-256 checked.

        Raises CorruptRegistryError, naming the task, where the file is missing or not what was stored, and
        TaskNotFoundError where the version was dropped since.
        """
        try:
            return changes.intact(self._files, version)
        except CorruptRegistryError:
            # Or another process renamed the task, which rewrites its files, or removed it.
            with self._database.read() as session:
                row = session.execute(rows.versions().where(VersionRow.id == version.id)).one_or_none()
            if row is None:
                raise TaskNotFoundError(
                    f'version {version.number} of task "{version.task}" is not in the registry any more'
                ) from None
            if row.adapter_sha256 == version.adapter_sha256:
                raise
        return changes.intact(self._files, rows.version_record(row))

    def record(self, measured: Sequence[Accuracy], after: str | None = None) -> Measurement:
        """Keep accuracies that were measured again, as the state after the last task, or after `after`.

        Raises TaskNotFoundError; RegistryError where nothing was measured, or no task is there.
        """
        with self._database.write() as session:
            version_id = history.last_learned(session) if after is None else history.current_version_id(session, after)
            return history.measurements(session, history.record(session, measured, version_id))[0]

    def measurements(self) -> list[Measurement]:
        """Everything that was measured, oldest first."""
        with self._database.read() as session:
            return history.measurements(session)

    def matrix(self, mode: Mode) -> list[list[float | None]]:
        """Row i: after task i was learned; column j: accuracy on task j. In the order of `tasks`.

        None above the diagonal, and where nothing was measured.
        """
        with self._database.read() as session:
            return history.matrix(session, mode)

    def confusion(self) -> list[list[int]]:
        """Row i, column j: test clips of task i last routed to task j. In the order of `tasks`."""
        with self._database.read() as session:
            return history.confusion(session)

    def storage(self) -> Storage:
        """Bytes on disk."""
        with self._database.read() as session:
            current = session.scalars(rows.current_hashes()).all()
        used = sum(size(self._files.path(sha256)) for sha256 in current)
        return Storage(used, self._files.total(), self._database.bytes())

    def verify(self) -> list[Problem]:
        """Everything stored that is not what it should be; nothing where all is well."""
        return maintenance.verify(self._database, self._files)

    def gc(self, *, dry_run: bool = False) -> GcReport:
        """Drop the versions that are not current, and every file that nothing names."""
        return maintenance.gc(self._database, self._files, dry_run=dry_run)

    @classmethod
    def rebuild(cls, location: str | Path) -> RebuildReport:
        """Restore a lost or damaged database from the adapter files alone; the former one is kept beside it.

        See `maintenance.rebuild` for what can be restored. Nobody else may be using the registry meanwhile.
        Raises RegistryError where there is no adapter to restore from.
        """
        path = database_path(location)
        rebuilding.finish(path)
        return maintenance.rebuild(path, AdapterFiles(path.parent / "adapters"))


def database_path(location: str | Path) -> Path:
    """Where the database of a registry is. Raises RegistryError for a place that is not supported."""
    path = Path(location).expanduser() / "registry.db"
    if isinstance(location, str) and "://" in location:
        try:
            url = make_url(location)
        except ArgumentError as error:
            raise RegistryError("the registry's URL cannot be read; write sqlite:///folder/registry.db") from error
        if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
            raise RegistryError(
                f"a registry at {url.drivername}:// is not supported yet: name a folder, or sqlite:///folder/registry.db"
            )
        path = Path(url.database)
    with file_errors(path.parent, "look at"):
        is_file = path.parent.exists() and not path.parent.is_dir()
    if is_file:
        raise RegistryError(f"{path.parent} is a file, and a registry is a folder: name another place")
    return path.resolve()
