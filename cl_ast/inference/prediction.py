"""What `predict` takes and what it answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cl_ast.errors import AudioError

Clip = str | Path | BinaryIO


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one clip, or for one window of it.

    Attributes:
        known: False where no task of the registry fits; `task` is then the nearest.
        tasks: the nearest few (task, score), where the router chose.
        labels: (label, probability), best first.
        start, end: of the window, in seconds.
    """

    path: str
    task: str
    task_score: float
    known: bool
    labels: tuple[tuple[str, float], ...]
    tasks: tuple[tuple[str, float], ...] | None = None
    start: float | None = None
    end: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As the command-line contract has it."""
        out: dict[str, Any] = {"path": self.path}
        if self.start is not None:
            out |= {"start": self.start, "end": self.end}
        out |= {"task": self.task, "task_score": self.task_score, "known": self.known}
        if self.tasks is not None:
            out["tasks"] = [{"task": name, "score": score} for name, score in self.tasks]
        out["labels"] = [{"label": name, "score": score} for name, score in self.labels]
        return out


@dataclass(frozen=True, slots=True)
class Failure:
    """A clip that could not be answered, and why."""

    path: str
    error: AudioError


@dataclass(frozen=True, slots=True)
class Window:
    """How long clips are cut: `seconds` long, one every `hop` seconds."""

    seconds: float
    hop: float

    def __post_init__(self) -> None:
        if not 0.1 <= self.seconds <= 30:
            raise AudioError(f"a window of {self.seconds:g} s cannot be used; choose 0.1 to 30 s")
        if not 0.01 <= self.hop <= self.seconds:
            raise AudioError(f"a hop of {self.hop:g} s cannot be used; choose 0.01 s to the window's length")
