"""What is wanted of clips, and what is answered."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

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
        alpha: with "auto", the p-value below which a clip is unknown; None for the limit of each task.
        whole: of a clip that is longer than its task takes, classify the first seconds only, and not the windows that
            sound.
    """

    task: str = AUTO
    top_k: int | None = 5
    window: Window | None = None
    every: bool = False
    alpha: float | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one clip, or for one window of it.

    Attributes:
        task_score: the router's score for the task, which compares it with the others; 1 by name.
        ok: True, as `Failure.ok` is False.
        known: False where no task of the registry fits; `task` is then the nearest.
        tasks: the nearest few (task, score), where the router chose.
        labels: (label, probability), best first; as many as were wanted, and all tags that are true.
        start, end: where the window begins and ends, in seconds.
        taken: from where to where the answer is about the clip, in seconds; where windows were joined, from the
            beginning of the first to the end of the last of them.
        clip_seconds: how long the clip (or window) is, where it is longer than the task takes.
        joined: how many windows sound and were joined, of how many, and how long each is in seconds; None where the
            clip was classified as it is.
        warnings: what a listener would miss in the clip's file, such as bytes that were left out.
        p_value: the share of the task's own clips that fit it no better; it decides `known`. None by name.
        p_values: the same for each of `tasks`.
        alpha: the limit: with a lower p-value, the clip is unknown.
        nearer: what an unknown clip is nearer to than to the task: "noise", "negatives", or empty for neither.
        tags: of a task of tags, every label whose probability reaches its threshold, best first; None for classes.
    """

    ok: ClassVar[Literal[True]] = True
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
    p_value: float | None = None
    p_values: tuple[float, ...] = ()
    alpha: float = 0.0
    nearer: str = ""
    tags: tuple[str, ...] | None = None

    @property
    def score_if_known(self) -> float | None:
        """The score as JSON and CSV have it: None where no task fits, since silence may well be nearest to one task."""
        return self.task_score if self.known else None

    @property
    def said(self) -> tuple[str, ...]:
        """What the clip is said to be: its best label, or all tags that are true of it."""
        return (self.labels[0][0],) if self.tags is None else self.tags

    @property
    def why_unknown(self) -> str:
        """Why the clip is unknown, in words; empty where it is known."""
        if self.known:
            return ""
        if self.nearer:
            return f"nearer to {'its negatives' if self.nearer == 'negatives' else self.nearer}"
        return f"p-value below {self.alpha:.2f}"

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
        out |= {"task": self.task, "task_score": self.score_if_known, "known": self.known}
        if self.p_value is not None:
            out["p_value"] = self.p_value
        if not self.known and self.p_value is not None:
            than = f" than to {self.task}: p-value {self.p_value:.2f}, below {self.alpha:.2f}" if self.nearer else ""
            out["reason"] = self.why_unknown + than
        if self.tasks is not None:
            out["tasks"] = [{"task": name, "score": score} for name, score in self.tasks]
            for near, p_value in zip(out["tasks"], self.p_values, strict=False):
                near["p_value"] = p_value
        out["labels"] = [{"label": name, "score": score} for name, score in self.labels]
        if self.tags is not None:
            out["tags"] = list(self.tags)
        out["heard"] = list(self.taken)
        if self.clip_seconds is not None:
            out["clip_seconds"] = self.clip_seconds
        if self.joined is not None:
            out["windows"] = self.joined[0]
        if self.notes:
            out["notes"] = list(self.notes)
        return out
