"""The registry itself: what can be asked of it and done to it. How it is changed is in `changes`."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType

from cl_ast.errors import CorruptRegistryError, RegistryError, TaskNotFoundError
from registry import changes, history, maintenance, rows
from registry.adapter_files import AdapterFiles, name_of
from registry.database import Database
from registry.errors import not_writable
from registry.locations import locate
from registry.records import (
    MODES,
    Accuracy,
    BackboneRecord,
    GcReport,
    Overview,
    Problem,
    RebuildReport,
    Storage,
    TaskRecord,
    VersionRecord,
)
from registry.version_facts import NewVersion


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
        """The registry in a folder, or at a URL that `registry.locations` explains, made where there is none.

        One that can only be read is opened for reading. Raises RegistryError where the place holds
        something else, was written by a newer cl-ast, or (`create=False`) holds nothing;
        CorruptRegistryError where its database is damaged or missing beside its adapters.
        """
        home, files = locate(location)
        # Looked for again after the adapters: another process may be making the same registry just now.
        database = home.open() or (home.open() if files.adapters() else None)
        if database is not None:
            return cls(database, files)
        if files.adapters():
            raise CorruptRegistryError(
                f"{home.place} is lost, but {files.store.place} holds adapters: restore it with `cl-ast rebuild`"
            )
        if not create:
            raise RegistryError(f"there is no registry at {home.place}")
        files.store.prepare()
        return cls(home.make(), files)

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
        """Where it is, as people read it: the folder, or the database's URL without a password."""
        return self._database.place

    @property
    def writable(self) -> bool:
        return self._database.writable and self._files.store.writable

    def require_writable(self) -> None:
        """Raises RegistryError where nothing can be committed: better said before a training than after it."""
        if not self.writable:
            raise RegistryError(not_writable(self.place))

    @property
    def backbone(self) -> BackboneRecord | None:
        """The backbone that every adapter here was learned on; None until `set_backbone`."""
        with self._database.read() as asking:
            return rows.backbone(asking)

    def set_backbone(self, record: BackboneRecord) -> BackboneRecord:
        """Say once what the backbone is, and get what is stored.

        The same backbone again changes nothing, but fills in a `background` that is missing (as after
        `rebuild`). Raises RegistryError for another one.
        """
        from registry.models import BackboneRow

        with self._database.write() as writing:
            known = rows.backbone(writing)
            if known is None:
                writing.insert(BackboneRow, [{"id": rows.BACKBONE_ID, **asdict(record)}])
            elif known.fingerprint != record.fingerprint:
                raise RegistryError(
                    f"the registry in {self.place} has the backbone {known.name} ({known.fingerprint}), and "
                    f"{record.name} ({record.fingerprint}) is another: use the first, or another registry"
                )
            elif not known.background:
                writing.session.get_one(BackboneRow, rows.BACKBONE_ID).background = record.background
                return replace(known, background=record.background)
        return known or record

    def replace_background(self, background: bytes) -> None:
        """Keep another `background` of the same backbone. Raises RegistryError where no backbone is known yet."""
        from registry.models import BackboneRow

        with self._database.write() as writing:
            rows.require_backbone(writing)
            writing.session.get_one(BackboneRow, rows.BACKBONE_ID).background = background

    def tasks(self) -> list[TaskRecord]:
        """Every task, in learning order: that in which the current versions were learned.

        A replaced task moves to the end, and back if it is rolled back. `overview` numbers the tasks in this
        order.
        """
        with self._database.read() as asking:
            return rows.tasks(asking)

    def nearest(self) -> dict[str, list[tuple[str, float]]]:
        """For each task that was routed: the others that its test clips last went to, with the share of its clips.

        The largest first; of the clips that were given to any task. In the order of `tasks`.
        """
        with self._database.read() as asking:
            return history.nearest(asking)

    def task(self, name: str) -> TaskRecord:
        """The task of that name, whatever its case. Raises TaskNotFoundError."""
        with self._database.read() as asking:
            return rows.task(asking, name)

    def current(self, names: Collection[str]) -> dict[str, VersionRecord]:
        """The version that answers for each name, whatever its case, as they all are at one moment.

        One question for many: a batch of clips asks this. Raises TaskNotFoundError.
        """
        with self._database.read() as asking:
            found = rows.current(asking, names)
            for name in set(names) - set(found):  # one that is not there, or another spelling
                found[name] = rows.task(asking, name).version
            return found

    def versions(self, name: str) -> list[VersionRecord]:
        """Every version of a task that is kept, oldest first. Raises TaskNotFoundError."""
        with self._database.read() as asking:
            return rows.versions(asking, rows.ids(asking, name)[0])

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
        here, RegistryError for a name that cannot be, an adapter of another backbone, a full disk or a
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

    def read_adapter(self, version: VersionRecord) -> bytes:
        """The bytes of a version's file, its SHA-256 checked.

        Raises CorruptRegistryError, naming the task, where the file is missing or not what was stored, and
        TaskNotFoundError where the version was dropped since.
        """
        try:
            return changes.intact(self._files, version)
        except CorruptRegistryError:
            # Or another process renamed the task, which rewrites its files, or removed it.
            with self._database.read() as asking:
                now = rows.version(asking, version.id)
            if now is None:
                raise TaskNotFoundError(
                    f'version {version.number} of task "{version.task}" is not in the registry any more'
                ) from None
            if now.adapter_sha256 == version.adapter_sha256:
                raise
        return changes.intact(self._files, now)

    def record(self, measured: Sequence[Accuracy], after: str | None = None) -> None:
        """Keep accuracies that were measured again, as the state after the last task, or after `after`.

        Raises TaskNotFoundError; RegistryError where nothing was measured, or no task is there.
        """
        with self._database.write() as writing:
            version_id = history.last_learned(writing) if after is None else rows.ids(writing, after)[1]
            history.record(writing, measured, version_id)

    def overview(self) -> Overview:
        """Everything that can be told of the tasks without their files, at one moment."""
        with self._database.read() as asking:
            tasks = tuple(rows.tasks(asking))
            at, backbone = history.places(asking), rows.backbone(asking)
            accuracies = {mode: history.accuracies(asking, mode, at) for mode in MODES}
            routed = history.routed(asking, at)
        there = {file.name: file.bytes for file in self._files.store.files()}
        used = sum(there.get(name_of(task.version.adapter_sha256), 0) for task in tasks)
        storage = Storage(used, sum(there.values()), self._database.bytes())
        return Overview(backbone, tasks, accuracies, routed, storage)

    def verify(self) -> list[Problem]:
        """Everything stored that is not what it should be; nothing where all is well."""
        return maintenance.verify(self._database, self._files)

    def gc(self, *, dry_run: bool = False) -> GcReport:
        """Drop the versions that are not current, and every file that nothing names."""
        return maintenance.gc(self._database, self._files, dry_run=dry_run)

    @classmethod
    def rebuild(cls, location: str | Path) -> RebuildReport:
        """Restore a lost or damaged database from the adapter files alone; the former one is kept.

        See `restoring.rebuild` for what can be restored. Nobody else may be using the registry meanwhile.
        Raises RegistryError where there is no adapter to restore from.
        """
        from registry.rebuild_database import rebuild

        return rebuild(*locate(location))
