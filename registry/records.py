"""What goes into a registry and what comes out: plain frozen values, never rows tied to a session."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from cl_ast.errors import RegistryError

Mode = Literal["oracle", "auto"]
MODES: tuple[Mode, ...] = get_args(Mode)
MOST_LABELS, LONGEST_LABEL = 65_536, 1_000
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


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One learned version of a task. `number` counts from 1 in its task; `id` is unique in the registry."""

    id: int
    task: str
    number: int
    method: str
    adapter_sha256: str
    adapter_bytes: int
    classes: int
    trainable_parameters: int
    learned_accuracy: float | None
    seed: int
    seconds: float
    source: Mapping[str, object]
    data_fingerprint: str
    protocol: str
    packages: Mapping[str, str]
    created: datetime


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task, and the version that answers for it now. `labels` are that version's, in its head's order."""

    id: int
    name: str
    created: datetime
    labels: tuple[str, ...]
    version: VersionRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """What the caller of `Registry.commit` knows of a freshly learned adapter.

    `source` says where the data came from, and must fit into JSON. Raises RegistryError when made with
    labels that are missing, empty or repeated, a negative count, or an accuracy outside [0, 1].
    """

    method: str
    labels: tuple[str, ...]
    trainable_parameters: int
    seed: int
    seconds: float
    source: Mapping[str, object] = field(default_factory=dict)
    data_fingerprint: str = ""
    protocol: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    learned_accuracy: float | None = None

    def __post_init__(self) -> None:
        if not self.method:
            raise RegistryError("a version needs the method that it was learned with")
        if not self.labels or not all(isinstance(label, str) and label for label in self.labels):
            raise RegistryError("a task needs at least one label, and no label may be empty")
        if len(self.labels) > MOST_LABELS or any(len(label) > LONGEST_LABEL for label in self.labels):
            raise RegistryError(f"a task has at most {MOST_LABELS:,} labels of at most {LONGEST_LABEL:,} characters")
        if len(set(self.labels)) != len(self.labels):
            raise RegistryError("the labels of a task must differ from each other")
        if self.trainable_parameters < 0 or not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise RegistryError("trainable parameters and seconds cannot be negative")
        if not -(2**63) <= self.seed < 2**63 or self.trainable_parameters >= 2**63:
            raise RegistryError("a seed and a number of parameters have at most 63 bits and a sign")
        if self.learned_accuracy is not None and not 0 <= self.learned_accuracy <= 1:
            raise RegistryError(f"an accuracy is a fraction in [0, 1], not {self.learned_accuracy}")


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
class Measurement:
    """Accuracies measured together. `after`: the task learned last by then; None once that version is dropped."""

    id: int
    after: str | None
    after_version_id: int | None
    created: datetime
    accuracies: tuple[Accuracy, ...]


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
