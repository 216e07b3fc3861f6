"""What is wanted of a recording, and what is found in it: events, each from one sample to another."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cl_ast.audio.reading import SAMPLE_RATE
from cl_ast.errors import ClAstError
from cl_ast.inference.prediction import AUTO

ALL = "all"
USUAL_ON = 0.6
BELOW_ON = 0.15  # how far `off` lies below `on` unless it is given
_LONGEST = 3_600.0  # seconds, of any of the times

Key = tuple[str, str]
"""A task and one of its labels: what events are found of."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Where an event begins and ends: it reaches `on`, and never falls below `off`."""

    on: float
    off: float

    @classmethod
    def of(cls, on: float | None = None, off: float | None = None) -> "Threshold":
        """Return a threshold, by default at 0.6 with `off` 0.15 below `on`. Raises ClAstError where it cannot be."""
        on = USUAL_ON if on is None else on
        found = cls(on, max(0.0, round(on - BELOW_ON, 6)) if off is None else off)
        if not 0 <= found.off <= found.on <= 1:
            raise ClAstError(
                f"events that begin at {found.on:g} and end below {found.off:g} cannot be; give 0 <= off <= on <= 1"
            )
        return found


@dataclass(frozen=True, slots=True)
class EventSettings:
    """How events are found. Times are in seconds.

    Attributes:
        task: a task's name; "auto" to let the router choose the task of each window; "all" for every task by name.
        window: how long the windows are that are classified; None for what the task takes, of several the shortest.
        hop: from the begin of one window to the next; None for half a window, or with `timeline` a whole one.
        threshold: where events begin and end.
        thresholds: the same for single classes, each a task and its label.
        median: the scores of a class are filtered by a median of this length; for "sebb" it is the length of the step
            filter that finds where scores change.
        min_duration: shorter events are dropped.
        min_gap: where less time lies between two events of a class, they are one.
        pad: how much earlier an event begins, and how much later it ends, than its scores say.
        timeline: whether each window has a score for every step in time of the backbone, and not one for all of it.
        alpha: with "auto", the p-value below which a window is unknown; None for the limit of each task.
        route: with "auto", "every" routes each window; "sticky" keeps a task while it seems to fit (`events.sticky`).
        method: how events are cut out of the scores: "hysteresis", as described here, or "sebb".
        tuned: whether classes begin and end where `cl-ast tune` found, as far as it did and `thresholds` says no other;
            its thresholds are for hysteresis.
    """

    task: str = AUTO
    window: float | None = None
    hop: float | None = None
    threshold: Threshold = field(default_factory=Threshold.of)
    thresholds: Mapping[Key, Threshold] = field(default_factory=dict)
    median: float = 0.5
    min_duration: float = 0.25
    min_gap: float = 0.3
    pad: float = 0.0
    timeline: bool = False
    alpha: float | None = None
    route: Literal["every", "sticky"] = "every"
    method: Literal["hysteresis", "sebb"] = "hysteresis"
    tuned: bool = True

    def __post_init__(self) -> None:
        for name in ("median", "min_duration", "min_gap", "pad"):
            if not 0 <= getattr(self, name) <= _LONGEST:
                shown = name.replace("_", "-")
                raise ClAstError(f"--{shown} of {getattr(self, name):g} s cannot be used; give 0 to {_LONGEST:g} s")
        if self.route != "every" and self.task != AUTO:
            raise ClAstError("--route is for the router; leave out --task")

    def row(self) -> dict[str, Any]:
        """Return the settings that all classes have in common, as plain values."""
        names = ("window", "hop", "median", "min_duration", "min_gap", "pad", "timeline", "alpha", "method")
        found = {"on": self.threshold.on, "off": self.threshold.off, **{name: getattr(self, name) for name in names}}
        return found | ({} if self.route == "every" else {"route": self.route})

    def to_json(self) -> dict[str, Any]:
        """Return all settings as plain values."""
        each = [[*key, one.on, one.off] for key, one in sorted(self.thresholds.items())]
        return {"task": self.task, **self.row(), "thresholds": each}

    def threshold_of(self, key: Key) -> Threshold:
        """Return where events of a class begin and end."""
        return self.thresholds.get(key, self.threshold)

    def median_cells(self, step: int) -> int:
        """Return the length of the median in cells of the grid, which are `step` samples each."""
        return round(self.median * SAMPLE_RATE / step)

    def gap_cells(self, step: int) -> int:
        """Return the fewest cells of the grid that part two events of a class; fewer are bridged."""
        return -(-round(self.min_gap * SAMPLE_RATE) // step)


@dataclass(frozen=True, slots=True)
class Event:
    """What sounded from when to when, or what might have and was rejected. Times are in samples at 16 kHz.

    Attributes:
        path: the recording.
        first: its first sample.
        stop: the sample after its last one.
        label, task: what it is; None where no task fits.
        score_max, score_mean: of its scores on the grid, after the median; None where no task fits.
        windows: how many windows cover a part of it.
        why: why it was rejected; empty for an event.
        route: "sticky" where its windows were routed approximately; empty where each was routed, or tasks were named.
    """

    path: str
    first: int
    stop: int
    label: str | None
    task: str | None
    score_max: float | None
    score_mean: float | None
    windows: int
    why: str = ""
    route: str = ""

    @property
    def start(self) -> float:
        """Where it begins, in seconds: exactly a sample."""
        return self.first / SAMPLE_RATE

    @property
    def end(self) -> float:
        """Where it ends, in seconds: exactly a sample."""
        return self.stop / SAMPLE_RATE

    def to_json(self) -> dict[str, Any]:
        """Return the object that the command-line contract describes; some have `why` and `route`, too."""
        found = {
            "path": self.path,
            "start": self.start,
            "end": self.end,
            "label": self.label,
            "task": self.task,
            "score_max": self.score_max,
            "score_mean": self.score_mean,
            "windows": self.windows,
        }
        return found | {name: value for name, value in (("why", self.why), ("route", self.route)) if value}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Event":
        """Return the event that `to_json` wrote. Raises KeyError or TypeError where it is none."""
        first, stop = (round(found[name] * SAMPLE_RATE) for name in ("start", "end"))
        kept = {name: found[name] for name in ("path", "label", "task", "score_max", "score_mean", "windows")}
        return cls(first=first, stop=stop, why=found.get("why", ""), route=found.get("route", ""), **kept)
