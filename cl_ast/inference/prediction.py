"""What is wanted of clips, and what is answered."""

from dataclasses import dataclass
from typing import Any

from cl_ast.audio.windows import Window

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Query:
    """What is wanted of every clip.

    Attributes:
        task: a task's name, or "auto" to let the router choose.
        top_k: how many labels; None for all.
        window: how long clips are cut into windows, each with an answer of its own; None for one answer a clip.
        every: with "auto", an answer from every task that a clip is known to, the best first, or from the nearest.
        whole: of a clip that is longer than its task takes, classify the first seconds only, and not the windows that
            sound.
    """

    task: str = AUTO
    top_k: int | None = 5
    window: Window | None = None
    every: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one clip, or for one window of it.

    Attributes:
        known: False where no task of the registry fits; `task` is then the nearest.
        tasks: the nearest few (task, score), where the router chose.
        labels: (label, probability), best first.
        start, end: where the window begins and ends, in seconds.
        taken: from where to where the answer is about the clip, in seconds; where windows were joined, from the
            beginning of the first to the end of the last of them.
        clip_seconds: how long the clip (or window) is, where it is longer than the task takes.
        joined: how many windows sound and were joined, of how many, and how long each is in seconds; None where the
            clip was classified as it is.
        warnings: what a listener would miss in the clip's file, such as bytes that were left out.
    """

    path: str
    task: str
    task_score: float
    known: bool
    labels: tuple[tuple[str, float], ...]
    tasks: tuple[tuple[str, float], ...] | None = None
    start: float | None = None
    end: float | None = None
    taken: tuple[float, float] = (0.0, 0.0)
    clip_seconds: float | None = None
    joined: tuple[int, int, float] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """All that is to be said of this answer, as lines."""
        if self.clip_seconds is None:
            return self.warnings
        if self.joined is not None:
            used, windows, seconds = self.joined
            count = f"{used} of {windows}" if used < windows else f"{windows}"
            return (*self.warnings, f"joined over {count} windows of {seconds:g} s{' that sound' * (used < windows)}")
        seconds = self.taken[1] - self.taken[0]
        return (*self.warnings, f"heard {seconds:g} of {self.clip_seconds:g} s; leave out --whole to hear all of it")

    def to_json(self) -> dict[str, Any]:
        """Return the object that the command-line contract describes."""
        out: dict[str, Any] = {"path": self.path}
        if self.start is not None:
            out |= {"start": self.start, "end": self.end}
        out |= {"task": self.task, "task_score": self.task_score, "known": self.known}
        if self.tasks is not None:
            out["tasks"] = [{"task": name, "score": score} for name, score in self.tasks]
        out["labels"] = [{"label": name, "score": score} for name, score in self.labels]
        out["heard"] = list(self.taken)
        if self.clip_seconds is not None:
            out["clip_seconds"] = self.clip_seconds
        if self.joined is not None:
            out["windows"] = self.joined[0]
        if self.notes:
            out["notes"] = list(self.notes)
        return out
