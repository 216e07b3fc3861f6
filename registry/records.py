"""What a registry takes and returns: plain frozen values, which need no open database."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, get_args

from cl_ast.errors import RegistryError
from registry.version_facts import RULES, NewVersion, VersionFacts

Mode = Literal["oracle", "auto"]
MODES: tuple[Mode, ...] = get_args(Mode)
Blob = bytes  # a name for the type inside a class that has a field called bytes


@dataclass(frozen=True, slots=True)
class BackboneRecord:
    """The one frozen backbone of a registry.

    Attributes:
        name: as it was given, a short name, a hub name or a folder.
        fingerprint: differs wherever the weights differ.
        parameters, bytes: its size.
        background: what the router needs to know of the backbone, whatever the tasks are. The registry only stores it.
    """

    name: str
    fingerprint: str
    parameters: int
    bytes: int
    background: Blob = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord(VersionFacts):
    """One learned version of a task, as the registry has it.

    Attributes:
        id: unique in the registry, and never given to another version.
        task: the task's name.
        number: counts from 1 in its task.
        adapter_sha256, adapter_bytes: the content and the size of its file.
        created: when it was committed.
    """

    id: int
    task: str
    number: int
    adapter_sha256: str
    adapter_bytes: int
    created: datetime

    def facts(self) -> NewVersion:
        """Return what is known of it for another version; change some of it with `dataclasses.replace`."""
        return NewVersion(**{name: getattr(self, name) for name in RULES})


_PUT = [getattr(VersionRecord, one.name).__set__ for one in fields(VersionRecord)]


def version_record(values: Iterable[Any]) -> VersionRecord:
    """Return the record of values in the order of its fields.

    A frozen class sets each field by a function of its own, which is a fifth of the time of listing tasks.
    """
    record = object.__new__(VersionRecord)
    for put, value in zip(_PUT, values):  # noqa: B905  (as many as there are fields; a test compares them)
        put(record, value)
    return record


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task, with its current version."""

    id: int
    name: str
    created: datetime
    version: VersionRecord

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes of its current version, in the order of the head's outputs."""
        return self.version.labels


@dataclass(frozen=True, slots=True)
class SharedPart:
    """Tensors that several tasks share, in a file that never changes.

    Attributes:
        id: unique in the registry, and never given to another.
        name: by which `add-task --share` finds it.
        method: the method of the tasks that can read it.
        tasks: the names that the tasks had on whose clips it was trained.
        sha256, bytes: the content and the size of its file.
        created: when it was frozen.
    """

    id: int
    name: str
    method: str
    tasks: tuple[str, ...]
    sha256: str
    bytes: int
    created: datetime


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Test accuracy on one task. Raises RegistryError when made with values that cannot be.

    Attributes:
        task: its name.
        mode: "oracle" with the task named, "auto" with the task chosen by the router.
        accuracy: in [0, 1].
        clips: how many test clips were classified.
        routed: only for "auto": how many of them the router sent to each task, by name.
    """

    task: str
    mode: Mode
    accuracy: float
    clips: int
    routed: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise RegistryError(f"an accuracy is measured as oracle or auto, not {self.mode!r}")
        if not 0 <= self.accuracy <= 1:  # False for NaN too
            raise RegistryError(f"an accuracy is a fraction in [0, 1], not {self.accuracy}")
        if self.clips < 0 or any(clips < 0 for clips in self.routed.values()):
            raise RegistryError("a number of clips cannot be negative")
        if self.routed and self.mode != "auto":
            raise RegistryError("only an auto measurement has routed clips")


@dataclass(frozen=True, slots=True)
class Storage:
    """Sizes in bytes.

    Attributes:
        adapter_bytes: the files of the current versions.
        all_bytes: every file among the adapters.
        database_bytes: the database.
    """

    adapter_bytes: int
    all_bytes: int
    database_bytes: int


@dataclass(frozen=True, slots=True)
class Outdated:
    """Tasks whose clips were routed when other tasks, or other versions, were there than now.

    Attributes:
        rows: the tasks, numbered as in `Overview.tasks`.
        since: what changed after they were measured, in words that follow "since".
    """

    rows: frozenset[int]
    since: str


@dataclass(frozen=True, slots=True)
class Overview:
    """All that is known of a registry at one moment; `cl-ast stats` shows it.

    Attributes:
        backbone: None where it is not set yet.
        tasks: in the order in which the current versions were learned.
        accuracies: by mode, the accuracy on task j measured after task i, by (i, j). Tasks are numbered as in `tasks`,
            and pairs that were not measured are left out.
        routed: how many test clips of task i were last routed to task j, by (i, j).
        storage: what the registry takes.
        outdated: the tasks of which `routed`, and the routed accuracy in the last row, do not hold any more; None where
            all do.
        shared_parts: all of them, the oldest first.
    """

    backbone: BackboneRecord | None
    tasks: tuple[TaskRecord, ...]
    accuracies: Mapping[Mode, Mapping[tuple[int, int], float]]
    routed: Mapping[tuple[int, int], int]
    storage: Storage
    outdated: Outdated | None = None
    shared_parts: tuple[SharedPart, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something stored that is not what it should be.

    Attributes:
        task: the task that is concerned; None where it is none.
        place: the file or the database, as a path or a URL.
        what: what is wrong, in words.
    """

    task: str | None
    place: str
    what: str

    def __str__(self) -> str:
        about = f'task "{self.task}": ' if self.task is not None else ""
        return f"{about}{self.place}: {self.what}"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A file that `gc` dropped or, with `dry_run`, would drop; and why."""

    name: str
    bytes: int
    why: str


@dataclass(frozen=True, slots=True)
class Unnamed:
    """A whole file that no row of the database names, and that `gc` does not touch unless it is named.

    Attributes:
        name: the file's.
        bytes: its size.
        task, number: the task and the version that it says it is; None where it does not say it.
        shared: the name of the shared part that it says it is, if it is one.
    """

    name: str
    bytes: int
    task: str | None
    number: int | None
    shared: str | None = None

    @property
    def sha256(self) -> str:
        """The SHA-256 of its content."""
        return self.name[:64]

    def __str__(self) -> str:
        what = "an adapter that the database does not know, and that does not say clearly what it is"
        back = ""
        if self.task is not None:
            what = f"an adapter of task {self.task}, version {self.number}, that the database does not know"
            back = "`cl-ast rebuild` brings it back, "
        elif self.shared is not None:
            what = f"a shared part, {self.shared}, that the database does not know"
            back = "`cl-ast rebuild` brings it back, "
        return f"{what}: {back}`cl-ast gc {self.sha256[:12]}` moves it to the trash"


@dataclass(frozen=True, slots=True)
class GcReport:
    """What `gc` did or, with `dry_run`, would do.

    Attributes:
        dropped: the files that it moved to the trash, and the interrupted writes that it deleted.
        unnamed: the adapters that it left where they are, since the database does not know them.
        emptied: the files that it deleted from the trash.
        dry_run: whether nothing was done.
        undoable: whether `undo` can take it back.
    """

    dropped: tuple[Dropped, ...]
    dry_run: bool
    unnamed: tuple[Unnamed, ...] = ()
    emptied: tuple[Dropped, ...] = ()
    undoable: bool = True

    @property
    def bytes(self) -> int:
        """The size of the dropped files together."""
        return sum(file.bytes for file in self.dropped)


@dataclass(frozen=True, slots=True)
class LastChange:
    """The last change of tasks.

    Attributes:
        kind: "add", "replace", "remove", "rename", "rollback" or "gc"; "undo" where that was taken back, and "redo"
            where that was taken back in turn.
        what: what it did or, of an undo, what was taken back; in words.
        created: when.
    """

    kind: str
    what: str
    created: datetime

    def __str__(self) -> str:
        return f"{'the undo of: ' * (self.kind == 'undo')}{self.what} ({self.created.astimezone():%Y-%m-%d %H:%M})"


@dataclass(frozen=True, slots=True)
class Undone:
    """What `undo` did.

    Attributes:
        change: what was taken back.
        now: what holds since then, in words.
        undoable: whether another `undo` can take this back.
    """

    change: LastChange
    now: str
    undoable: bool

    def __str__(self) -> str:
        return f"took back: {self.change}; {self.now}"


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What `rebuild` restored.

    Attributes:
        tasks, versions: how many.
        skipped: the files that it had to leave out.
        backup: where the former database is now; None where there was none.
    """

    tasks: int
    versions: int
    skipped: tuple[Problem, ...]
    backup: str | None


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What `backup` copied.

    Attributes:
        place: where the copy is.
        moment: the registry was like this then; in UTC.
        tasks, versions: how many rows the copy has.
        bytes: the size of their files together.
        problems: what the copy lacks; nothing where it is whole.
        former: where the database of the former backup is kept; None where the new one has every row, or where there
            was none.
    """

    place: str
    moment: datetime
    tasks: int
    versions: int
    bytes: int
    problems: tuple[Problem, ...]
    former: str | None
