"""The registry: what can be read of it and done to it. `changes` has how it is changed."""

from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType

from cl_ast.errors import CorruptRegistryError, RegistryError, TaskNotFoundError
from cl_ast.progress import Progress, silent
from registry import backbone, changes, garbage, history, last_change, maintenance, rows, shared_parts, undoing
from registry.adapter_files import AdapterFiles, name_of
from registry.current_versions import CurrentVersions
from registry.database import Database
from registry.errors import not_writable
from registry.identity import changing
from registry.locations import locate
from registry.opening import opened
from registry.records import (
    MODES,
    Accuracy,
    BackboneRecord,
    BackupReport,
    GcReport,
    LastChange,
    Overview,
    Problem,
    RebuildReport,
    SharedPart,
    Storage,
    TaskRecord,
    Undone,
    VersionRecord,
)
from registry.version_facts import NewVersion


class Registry:
    """Tasks, the versions of their adapters and what was measured. Make one with `Registry.open`.

    It may be used from several threads and processes at once. Every method raises RegistryError where the database or
    the disk fails; each says what else it raises.
    """

    def __init__(self, database: Database, files: AdapterFiles) -> None:
        self._database = database
        self._files = files
        self._current = CurrentVersions(database)

    @classmethod
    def open(cls, location: str | Path, *, create: bool = True) -> "Registry":
        """Open the registry in a folder, or at a URL (see `registry.locations`). Make it where there is none.

        A registry that this user can only read is opened for reading.

        Raises:
            RegistryNotFoundError: there is none, and `create` is False.
            RegistryError: something else is there, or a newer cl-ast wrote it.
            CorruptRegistryError: its database is damaged, or there are adapters and no database.
        """
        return cls(*opened(location, create=create))

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> "Registry":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def place(self) -> str:
        """Where it is, for people to read: the folder, or the database's URL without a password."""
        return self._database.place

    @property
    def writable(self) -> bool:
        """Whether this user may change it."""
        return self._database.writable and self._files.store.writable

    def require_writable(self) -> None:
        """Raise RegistryError where nothing can be committed: a caller learns it before a training, not after it."""
        if not self.writable:
            raise RegistryError(not_writable(self.place))

    @property
    def backbone(self) -> BackboneRecord | None:
        """The backbone that every adapter here was learned on; None until `set_backbone`."""
        with self._database.read() as reader:
            return rows.backbone(reader)

    def set_backbone(self, record: BackboneRecord) -> BackboneRecord:
        """Set the backbone of a new registry, and return what is stored.

        Setting the same one again changes nothing, except that it fills in a `background` that is missing, as after
        `rebuild`.

        Raises:
            RegistryError: the registry has another backbone.
        """
        return backbone.set_backbone(self._database, self._files, record)

    def replace_background(self, background: bytes) -> None:
        """Store another `background` of the same backbone. Raises RegistryError where the backbone is not set yet."""
        backbone.replace_background(self._database, self._files, background)

    def tasks(self) -> list[TaskRecord]:
        """Return every task, in the order in which the current versions were learned.

        A task that is replaced moves to the end, and back if it is rolled back.
        """
        with self._database.read() as reader:
            return rows.tasks(reader)

    def count(self) -> int:
        """Return how many tasks have a row. `tasks` has fewer where rows cannot be read; `verify` then says why."""
        with self._database.read() as reader:
            return rows.count(reader)

    def nearest(self, tasks: Sequence[TaskRecord] | None = None) -> dict[str, list[tuple[str, float]]]:
        """Return for each task the other tasks that its test clips were last routed to, with the share of its clips.

        Clips that were not routed to any task do not count. The tasks have the order of `tasks`, and of each the
        largest share comes first. A task that was never routed is left out.

        Args:
            tasks: the tasks, where `tasks` was called already.
        """
        with self._database.read() as reader:
            order = history.learning_order(reader) if tasks is None else history.order_of(tasks)
            return history.nearest(reader, order)

    def task(self, name: str) -> TaskRecord:
        """Return the task of that name, whatever its case. Raises TaskNotFoundError."""
        with self._database.read() as reader:
            return rows.task(reader, name)

    def current(self, names: Collection[str]) -> dict[str, VersionRecord]:
        """Return the current version of each of these tasks, by the names as given, in whatever case.

        One query reads them all, as they are at one moment, and none where nothing has changed since the last one.
        Raises TaskNotFoundError.
        """
        return self._current.of(names)

    def versions(self, name: str) -> list[VersionRecord]:
        """Return every version of a task that is still stored, oldest first. Raises TaskNotFoundError."""
        with self._database.read() as reader:
            return rows.versions(reader, rows.ids(reader, name)[0])

    def commit(
        self,
        name: str,
        adapter: bytes,
        new: NewVersion,
        measured: Sequence[Accuracy] = (),
        *,
        replace: bool = False,
    ) -> TaskRecord:
        """Store a learned adapter and what was measured right after. All of this happens, or nothing.

        Args:
            name: of a new task; with `replace`, of a task that gets its next version, or of a new one.
            adapter: a safetensors file. The stored file has the same tensors, and its description, the `cl_ast` entry
                of the header, is completed with everything that the registry knows of it.
            new: what is known of the version.
            measured: accuracies of any tasks, this one included.

        Raises:
            TaskExistsError: the name is taken, and `replace` is not given.
            TaskNotFoundError: a task that was measured is not there.
            CorruptRegistryError: `adapter` is not such a file.
            RegistryError: the name cannot be one, the adapter belongs to another backbone, the disk is full, or the
                registry cannot be written.
        """
        return changes.commit(self._database, self._files, name, adapter, new, measured, replace=replace)

    def shared_parts(self) -> list[SharedPart]:
        """Return every shared part, the oldest first."""
        with self._database.read() as reader:
            return shared_parts.listed(reader)

    def shared_part(self, name: str) -> SharedPart:
        """Return the shared part of that name, whatever its case. Raises RegistryError where there is none."""
        with self._database.read() as reader:
            return shared_parts.named(reader, name)

    def share(self, name: str, data: bytes, method: str, tasks: Sequence[str]) -> SharedPart:
        """Store a shared part, which never changes afterwards. All of this happens, or nothing.

        Args:
            name: a new one, as for a task.
            data: a safetensors file. The stored file has the same tensors, and a description in its header.
            method: of the tasks that can read it.
            tasks: the names of the tasks on whose clips it was trained.

        Raises:
            CorruptRegistryError: `data` is not such a file.
            RegistryError: the name is taken or cannot be one, or the registry cannot be written.
        """
        return changes.share(self._database, self._files, name, data, method, tasks)

    def import_shared(self, data: bytes) -> SharedPart:
        """Store the file of a shared part of another registry as it is, and return it; or the one that is here already.

        Where another has its name, it gets one with some digits of its SHA-256.

        Raises:
            CorruptRegistryError: `data` is not such a file.
            RegistryError: it was trained over another backbone, or the registry cannot be written.
        """
        return changes.import_shared(self._database, self._files, data)

    def read_shared(self, sha256: str) -> bytes:
        """Return the bytes of a shared part's file, after checking their SHA-256.

        Raises CorruptRegistryError where the file is missing or is not what was stored.
        """
        with self._database.read() as reader:
            part = shared_parts.of_file(reader, sha256)
        return shared_parts.intact(self._files, sha256, sha256[:12] if part is None else part.name)

    def remove(self, name: str) -> None:
        """Remove a task with its versions and what was measured of it; its files go to the trash for 30 days.

        Its ids are never given to another. If the process dies before the files are moved, `gc` moves them; until then
        `rebuild` would bring the task back. Raises TaskNotFoundError.
        """
        changes.remove(self._database, self._files, name)

    def rename(self, old: str, new: str) -> TaskRecord:
        """Give a task another name. Its files are written again, since the name stands in them; their tensors stay.

        Raises TaskNotFoundError, TaskExistsError, and RegistryError for a name that cannot be one.
        """
        return changes.rename(self._database, self._files, old, new)

    def rollback(self, name: str, version: int | None = None) -> VersionRecord:
        """Make another version of a task the current one: the one of that number, or the one before the current.

        Nothing is deleted until `gc`. Raises TaskNotFoundError, RegistryError where there is no such version, and
        CorruptRegistryError where its file is missing or damaged.
        """
        return changes.rollback(self._database, self._files, name, version)

    def read_adapter(self, version: VersionRecord) -> bytes:
        """Return the bytes of a version's file, after checking their SHA-256.

        Raises:
            CorruptRegistryError: the file is missing or is not what was stored; the message names the task.
            TaskNotFoundError: the version was dropped since.
        """
        try:
            return changes.intact(self._files, version)
        except CorruptRegistryError:
            # Another process may have removed the task, or renamed it, which writes its files again.
            with self._database.read() as reader:
                now = rows.version(reader, version.id)
            if now is None:
                raise TaskNotFoundError(
                    f'version {version.number} of task "{version.task}" is not in the registry any more'
                ) from None
            if now.adapter_sha256 == version.adapter_sha256:
                raise
        return changes.intact(self._files, now)

    def record(self, measured: Sequence[Accuracy], after: str | None = None) -> None:
        """Record accuracies that were measured again.

        Args:
            measured: accuracies of any tasks.
            after: the task after whose learning they count as measured; the last one by default.

        Raises:
            TaskNotFoundError: one of the tasks is not there.
            RegistryError: nothing was measured, or there is no task.
        """
        with changing(self._database, self._files) as writer:
            version_id = history.last_learned(writer) if after is None else rows.ids(writer, after)[1]
            history.record(writer, measured, version_id)

    def overview(self) -> Overview:
        """Return everything that is known of the tasks without reading their files, at one moment."""
        with self._database.read() as reader:
            tasks = tuple(rows.tasks(reader))
            order, backbone = history.order_of(tasks), rows.backbone(reader)
            now = history.routed_now(reader, order)
            accuracies = {mode: history.accuracies(reader, mode, order, now) for mode in MODES}
            routed = history.routed(reader, order, now)
            outdated = history.outdated(reader, tasks, routed, now)
            shared = tuple(shared_parts.listed(reader))
        sizes = {file.name: file.bytes for file in self._files.store.files()}
        used = sum(sizes.get(name_of(task.version.adapter_sha256), 0) for task in tasks)
        storage = Storage(used, sum(sizes.values()), self._database.bytes())
        cells = {(row, column): clips for row, to in routed.items() for column, clips in to.items()}
        return Overview(backbone, tasks, accuracies, cells, storage, outdated, shared)

    def verify(self) -> list[Problem]:
        """Return everything stored that is not what it should be; nothing where all is well."""
        return maintenance.verify(self._database, self._files)

    def gc(self, names: Collection[str] = (), *, dry_run: bool = False, empty_trash: bool = False) -> GcReport:
        """Move the versions that are not current, damaged leftovers and what a crash left to the trash.

        A whole adapter that the database does not know is left where it is and reported: it may be newer than the
        database, as one that was restored from a backup. What has been in the trash for 30 days is deleted.

        Args:
            names: do nothing but move the adapters that the database does not know, of these tasks, to the trash; a
                name, or at least 12 digits of a SHA-256.
            dry_run: only say what would be done.
            empty_trash: delete everything that is in the trash, but for what comes there now.

        Raises:
            RegistryError: one of `names` is no such adapter.
        """
        return garbage.gc(
            self._database, self._files, dry_run=dry_run, empty_trash=empty_trash, wanted=frozenset(names)
        )

    def last_change(self) -> LastChange | None:
        """Return the last change of tasks, which `undo` would take back; None where there was none."""
        with self._database.read() as reader:
            return last_change.read(reader)

    def undo(self, expected: LastChange | None = None) -> Undone:
        """Take the last change of tasks back: a commit, remove, rename, rollback, gc or undo. All of it, or nothing.

        The rows become what they were, with the same ids; numbers of versions are not given again. What was measured
        since then of other tasks stays. This is a change itself, so that undoing again does what was taken back.

        Args:
            expected: the change that the caller means, as `last_change` gave it.

        Raises:
            RegistryError: there is no change, its files are not in the trash any more, it was too large to keep, or
                another came after the expected one.
        """
        return undoing.undo(self._database, self._files, expected)

    def backup(self, dest: str | Path, progress: Progress = silent) -> BackupReport:
        """Copy the registry as it is at one moment to another place, as `registry.backup.backup` says."""
        from registry.backup import backup

        return backup(self._database, self._files, dest, progress)

    @classmethod
    def rebuild(cls, location: str | Path) -> RebuildReport:
        """Restore a lost or damaged database from the adapter files alone; the former one is kept.

        `registry.rebuild_database.rebuild` says what can be restored. Where the former database is lost or damaged,
        nobody else may use the registry meanwhile. Raises RegistryError where there is no adapter to restore from, or
        where the database belongs to another program or to a newer cl-ast.
        """
        from registry.rebuild_database import rebuild

        return rebuild(*locate(location))
