"""Explains an accuracy: by class and with intervals, what is taken for what, and which clips went wrong and where."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from cl_ast.evaluation.accuracy import Measured, Outcome, is_right_and_routed
from cl_ast.evaluation.intervals import Interval, wilson
from cl_ast.excerpts import Place, record, sort_key

_MOST_SQUARE = 1_000  # classes; a matrix of more is too large for JSON, and the list of confusions has all of it


@dataclass(frozen=True, slots=True)
class Share:
    """How many of some clips are right.

    Attributes:
        accuracy: the fraction; None for no clip.
        interval: the 95 % interval of the accuracy (Wilson); None for no clip.
    """

    right: int
    clips: int

    @property
    def accuracy(self) -> float | None:
        return self.right / self.clips if self.clips else None

    @property
    def interval(self) -> Interval | None:
        return wilson(self.right, self.clips)

    def to_json(self) -> dict[str, Any]:
        """Return counts, accuracy and interval as JSON types."""
        interval = None if self.interval is None else list(self.interval)
        return {"right": self.right, "clips": self.clips, "accuracy": self.accuracy, "interval": interval}


@dataclass(frozen=True, slots=True)
class Confusion:
    """How many clips of one class were taken for another class."""

    label: str
    predicted: str
    clips: int


@dataclass(frozen=True, slots=True)
class Wrong:
    """A clip that its task answers wrongly by name.

    Attributes:
        place: where it is.
        probability: of the wrong label.
    """

    place: Place
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True, slots=True)
class Misrouted:
    """A clip that the router sent to another task than its own, or called unknown.

    Attributes:
        place: where it is.
        task: where it was sent.
        task_score: the router's score for that task.
        p_value: the share of that task's own clips that fit it no better; where it is too low, the clip is unknown.
        known: whether the clip was taken for one of that task.
    """

    place: Place
    label: str
    task: str
    task_score: float
    p_value: float
    known: bool


def to_json(one: Wrong | Misrouted) -> dict[str, Any]:
    """Return a clip as JSON types, with its place as every list of clips has it."""
    return {**record(one.place), **{name: value for name, value in asdict(one).items() if name != "place"}}


def misrouted_in(measured: Measured) -> list[Misrouted]:
    """Return every clip that was sent to another task or called unknown, the best fit for a wrong task first."""
    found = [
        Misrouted(one.clip.place, one.label, one.route.task, one.route.score, one.route.p_value, known=one.route.known)
        for one in measured.outcomes
        if one.route is not None and (one.route.task != measured.task or not one.route.known)
    ]
    return sorted(found, key=lambda one: (one.task == measured.task, -one.p_value, sort_key(one.place)))


def route_columns(outcome: Outcome) -> dict[str, Any]:
    """Return where the router sent a clip, as columns of the CSV; empty where routing was not measured."""
    route = outcome.route
    return {
        "routed_task": None if route is None else route.task,
        "task_score": None if route is None else route.score,
        "p_value": None if route is None else route.p_value,
        "known": None if route is None else route.known,
    }


@dataclass(frozen=True)
class Details:
    """What is behind a task's accuracy. Everything is computed from the outcomes of its clips."""

    measured: Measured

    @property
    def by_name(self) -> Share:
        """How many clips are right with the task named."""
        return Share(sum(map(_is_right, self._outcomes)), len(self._outcomes))

    @property
    def routed(self) -> Share | None:
        """How many clips are right with the task chosen by the router; None where that was not measured."""
        if self.measured.routed is None:
            return None
        return Share(sum(is_right_and_routed(one, self.measured.task) for one in self._outcomes), len(self._outcomes))

    @cached_property
    def classes(self) -> Mapping[str, Share]:
        """How many clips of each class are right, in the order of the head's outputs; other labels come last."""
        clips = Counter(one.label for one in self._outcomes)
        right = Counter(one.label for one in self._outcomes if _is_right(one))
        return {label: Share(right[label], clips[label]) for label in dict.fromkeys((*self.measured.labels, *clips))}

    @cached_property
    def confusions(self) -> Sequence[Confusion]:
        """Every pair of classes that was confused, the most frequent first."""
        counts = Counter((one.label, one.predicted) for one in self._outcomes if not _is_right(one))
        found = [Confusion(label, predicted, clips) for (label, predicted), clips in counts.items()]
        return sorted(found, key=lambda one: (-one.clips, one.label, one.predicted))

    @property
    def confusion(self) -> list[list[int]] | None:
        """How many clips of the class of the row were answered as the class of the column; None for very many."""
        labels = self.measured.labels
        if len(labels) > _MOST_SQUARE:
            return None
        counts = Counter((one.label, one.predicted) for one in self._outcomes)
        return [[counts[label, predicted] for predicted in labels] for label in labels]

    @cached_property
    def wrong(self) -> Sequence[Wrong]:
        """Every clip that is answered wrongly by name, the most confident error first."""
        found = [
            Wrong(one.clip.place, one.label, one.predicted, one.probability)
            for one in self._outcomes
            if not _is_right(one)
        ]
        return sorted(found, key=lambda one: (-one.probability, sort_key(one.place)))

    @cached_property
    def misrouted(self) -> Sequence[Misrouted]:
        """Every clip that was sent to another task or called unknown, the best fit for a wrong task first."""
        return misrouted_in(self.measured)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON types, whose numbers are finite."""
        return {
            "by_name": self.by_name.to_json(),
            "routed": None if self.routed is None else self.routed.to_json(),
            "classes": [{"label": label, **share.to_json()} for label, share in self.classes.items()],
            "labels": list(self.measured.labels),
            "confusion": self.confusion,
            "confusions": [asdict(one) for one in self.confusions],
            "wrong": [to_json(one) for one in self.wrong],
            "misrouted": [to_json(one) for one in self.misrouted],
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat record for each clip, as the CSV of `cl-ast evaluate --details` has it."""
        return [self._row(one) for one in self._outcomes]

    def _row(self, one: Outcome) -> dict[str, Any]:
        return {
            "task": self.measured.task,
            **record(one.clip.place),
            "label": one.label,
            "predicted": one.predicted,
            "probability": one.probability,
            "right": _is_right(one),
            **route_columns(one),
            "routed_label": one.routed_label,
            "routed_right": None if one.route is None else is_right_and_routed(one, self.measured.task),
        }

    @property
    def _outcomes(self) -> tuple[Outcome, ...]:
        return self.measured.outcomes


def _is_right(one: Outcome) -> bool:
    return one.predicted == one.label
