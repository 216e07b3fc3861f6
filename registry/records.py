"""What goes into a registry and what comes out: plain frozen values, never rows tied to a session."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from cl_ast.errors import RegistryError
from registry.version_facts import RULES, NewVersion, VersionFacts

Mode = Literal["oracle", "auto"]
MODES: tuple[Mode, ...] = get_args(Mode)
Blob = bytes  # where a field is called bytes


@dataclass(frozen=True, slots=True)
class BackboneRecord:
    """The one frozen backbone of a registry.

    `background` is opaque here: what the router must know of the backbone whatever the tasks are.
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


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task, and the version that answers for it now."""

    id: int
    name: str
    created: datetime
    version: VersionRecord

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes of its current version, in the order of the head's outputs."""
        return self.version.labels


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Test accuracy on one task, with the task given (`oracle`) or chosen by the router (`auto`).

    `routed`, for `auto` only: how many of this task's test clips were sent to each task. Raises
    RegistryError when made
    with values that cannot be.
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
    """Bytes on disk. `adapter_bytes`: current versions; `all_bytes`: the whole of `adapters/`."""

    adapter_bytes: int
    all_bytes: int
    database_bytes: int


@dataclass(frozen=True, slots=True)
class Overview:
    """All of a registry at one moment: what `cl-ast stats` tells.

    `accuracies`, by mode: (i, j) → accuracy on task j measured after task i. `routed`: (i, j) → test clips of task i
    that were last routed to task j. Tasks are numbered as in `tasks`; most pairs of a long list are not there.
    """

    backbone: BackboneRecord | None
    tasks: tuple[TaskRecord, ...]
    accuracies: Mapping[Mode, Mapping[tuple[int, int], float]]
    routed: Mapping[tuple[int, int], int]
    storage: Storage


@dataclass(frozen=True, slots=True)
class Problem:
    """Something stored is not what it should be: the file or database at `place`, a path or a URL.

    `task` is None where no task is concerned.
    """

    task: str | None
    place: str
    what: str

    def __str__(self) -> str:
        about = f'task "{self.task}": ' if self.task is not None else ""
        return f"{about}{self.place}: {self.what}"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A file among the adapters that `gc` dropped, or would drop."""

    name: str
    bytes: int
    why: str


@dataclass(frozen=True, slots=True)
class GcReport:
    """What `gc` dropped, or with `dry_run` would drop."""

    dropped: tuple[Dropped, ...]
    dry_run: bool

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.dropped)


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What `rebuild` restored, the files it had to leave out, and where the former database is now."""

    tasks: int
    versions: int
    skipped: tuple[Problem, ...]
    backup: str | None
