"""Tunes where events of a task begin: a threshold for each class, from validation clips and background recordings.

The events are those that `cl-ast events` would find with its usual settings, or with other windows: by the same grid,
median and rules. Every window is scored once; what is tried is only where the scores become events.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cl_ast.audio import reading
from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.batching import chunks
from cl_ast.continual.rebuild_routing import recommit
from cl_ast.continual.routing_clips import audio_in, resolved
from cl_ast.errors import RegistryError, StreamError, TrainingError
from cl_ast.events import EventDetector, EventSettings, ScoredWindow, StreamDetector, Threshold, WindowScorer
from cl_ast.inference.session import Session
from cl_ast.progress import Progress, Step
from cl_ast.tasks.source import reload_version
from cl_ast.tasks.thresholds import KEY, Windows
from registry import TaskRecord

_LEVELS = 100  # thresholds are hundredths
_LOWEST = 20  # of them; events end 0.15 lower, and at a score of 0 they would never end
_GROUP = 32  # windows, and clips, at once


@dataclass(frozen=True, slots=True)
class Goal:
    """What the thresholds are to reach; one of the two is given. Raises TrainingError for a number that cannot be one.

    Attributes:
        false_alarms_per_hour: the most events of each class in an hour of background.
        precision: the least share of right ones among the detections of each class: in validation clips, where the
            clips of the class are right, and in the background, where none is.
    """

    false_alarms_per_hour: float | None = None
    precision: float | None = None

    def __post_init__(self) -> None:
        if (self.false_alarms_per_hour is None) == (self.precision is None):
            raise TrainingError("thresholds are tuned for false alarms an hour or for a precision; give one of them")
        if self.false_alarms_per_hour is not None and not 0 <= self.false_alarms_per_hour < 1e6:
            raise TrainingError(f"{self.false_alarms_per_hour:g} false alarms an hour cannot be; give 0 or more")
        if self.precision is not None and not 0 < self.precision <= 1:
            raise TrainingError(f"a precision of {self.precision:g} cannot be; give more than 0, and 1 at most")


@dataclass(frozen=True, slots=True)
class ClassThreshold:
    """The threshold of one class, and what it does.

    Attributes:
        on: the score at which an event begins.
        false_alarms: its events in the background.
        found, clips: how many of the validation clips of the class have an event of it, and how many there are.
        wrong: how many of the other validation clips have one.
    """

    on: float
    false_alarms: int
    found: int
    clips: int
    wrong: int

    @property
    def precision(self) -> float | None:
        """The share of right detections; None where there is none."""
        total = self.found + self.wrong + self.false_alarms
        return self.found / total if total else None


@dataclass(frozen=True, slots=True)
class Tuned:
    """What tuning came to.

    Attributes:
        hours: of background.
        windows: those whose scores the thresholds are for.
        classes: the thresholds, by label.
        unreached: the classes for which no threshold reaches the goal; they have the highest.
    """

    goal: Goal
    background: Path
    hours: float
    windows: Windows
    classes: Mapping[str, ClassThreshold]
    unreached: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Return what a version records of it."""
        return {
            "false_alarms_per_hour": self.goal.false_alarms_per_hour,
            "precision": self.goal.precision,
            "background": str(self.background),
            "hours": round(self.hours, 4),
            **self.windows._asdict(),
            "labels": {label: asdict(one) for label, one in self.classes.items()},
        }


def tune(
    session: Session,
    record: TaskRecord,
    background: Path,
    goal: Goal,
    progress: Progress,
    *,
    window: float | None = None,
    hop: float | None = None,
    timeline: bool = False,
) -> Tuned:
    """Give each class of a task the lowest threshold that reaches a goal, as a version that differs in nothing else.

    Args:
        background: a folder of recordings in which none of the classes sounds.
        window, hop, timeline: as in `EventSettings`.

    Raises:
        StreamError: the background has no recordings, or the validation clips are not at hand.
        AudioError: a recording or a clip cannot be read, or the window or the hop cannot be used.
        MethodError: a timeline is wanted, and the task has none.
        RegistryError: the routing of the task would be lost.
        NotFiniteError: the task answers with values that are not numbers.
    """
    session.registry.require_writable()
    if session.routing.is_unusable(record.version):
        raise RegistryError(f"the routing of {record.name} is of another release; run `cl-ast route` first")
    root = resolved(background)
    settings = EventSettings(task=record.name, window=window, hop=hop, timeline=timeline, tuned=False)
    scorer = WindowScorer(session, settings)
    clips = reload_version(session.registry, record.version).validation
    paths = audio_in(root)
    scored: list[_Scored] = []
    for number, path in enumerate(paths):
        with closing(reading.stream(path)) as blocks:
            scored.append(_score(scorer, (), blocks))
        progress(Step("searching the background", number + 1, len(paths)))
    for part in chunks(len(clips), _GROUP):
        some = clips[part.start : part.stop]
        waveforms = session.clips.read([clip.place for clip in some])
        scored += [_score(scorer, clip.labels, [one]) for clip, one in zip(some, waveforms, strict=True)]
        progress(Step("searching validation clips", part.stop, len(clips)))
    hours = sum(one.samples for one in scored if not one.labels) / SAMPLE_RATE / 3600
    if not hours:
        raise StreamError(f"{root} has no sound; give recordings of the background")
    classes, unreached = _lowest(record, scored, scorer, _rule(goal, hours), progress)
    tuned = Tuned(goal, root, hours, scorer.windows, classes, unreached)
    routing = session.routing.tasks().get(record.name)
    tensors = {} if routing is None else routing.tensors()
    recommit(session, record, tensors, record.version.source, {KEY: tuned.to_json()})
    return tuned


@dataclass(frozen=True, slots=True)
class _Scored:
    """The scored windows of a validation clip, or of a recording of the background, which has no labels."""

    labels: Sequence[str]
    windows: Sequence[ScoredWindow]
    samples: int


def _score(scorer: WindowScorer, own: Sequence[str], blocks: Iterator[Waveform] | Sequence[Waveform]) -> _Scored:
    windows: list[ScoredWindow] = []
    detector = StreamDetector(scorer, group=_GROUP, watch=windows.append)
    for block in blocks:
        detector.add(block)
    detector.finish()
    return _Scored(own, windows, detector.cutter.samples)


def _rule(goal: Goal, hours: float) -> Callable[[ClassThreshold], bool]:
    """Return what says whether a threshold reaches the goal."""
    most, least = goal.false_alarms_per_hour, goal.precision
    if most is not None:
        return lambda one: one.false_alarms <= most * hours
    assert least is not None
    return lambda one: one.precision is None or one.precision >= least


def _lowest(
    record: TaskRecord,
    scored: Sequence[_Scored],
    scorer: WindowScorer,
    reaches: Callable[[ClassThreshold], bool],
    progress: Progress,
) -> tuple[dict[str, ClassThreshold], list[str]]:
    """Return the lowest threshold of each class that reaches the goal, and the classes for which none does.

    All classes are halved at once. More events are seldom found at a higher threshold, where one that was long falls
    into two; so what is found is checked, and raised as long as it does not reach the goal.
    """
    low, high = dict.fromkeys(record.labels, _LOWEST), dict.fromkeys(record.labels, _LEVELS)
    steps = _LEVELS.bit_length()
    for step in range(steps):
        middle = {label: (low[label] + high[label]) // 2 for label in record.labels}
        for label, one in _measured(record, scored, scorer, middle).items():
            if reaches(one):
                high[label] = middle[label]
            else:
                low[label] = min(middle[label] + 1, high[label])
        progress(Step("choosing thresholds", step + 1, steps))
    while True:
        found = _measured(record, scored, scorer, high)
        short = [label for label, one in found.items() if not reaches(one)]
        if all(high[label] == _LEVELS for label in short):
            return found, short
        high |= {label: min(high[label] + 1, _LEVELS) for label in short}


def _measured(
    record: TaskRecord, scored: Sequence[_Scored], scorer: WindowScorer, levels: Mapping[str, int]
) -> dict[str, ClassThreshold]:
    """Return what the thresholds of all classes, in hundredths, do."""
    on = {label: level / _LEVELS for label, level in levels.items()}
    thresholds = {(record.name, label): Threshold.of(value) for label, value in on.items()}
    settings = replace(scorer.settings, thresholds=thresholds)
    alarms, found, wrong = Counter[str](), Counter[str](), Counter[str]()
    for one in scored:
        detector = EventDetector("", settings, scorer.step, scorer.hop)
        events = [event for window in one.windows for event in detector.add(window)]
        labels = [event.label for event in (*events, *detector.finish(one.samples)) if not event.why]
        if not one.labels:
            alarms.update(label for label in labels if label is not None)
            continue
        for label in {label for label in labels if label is not None}:
            (found if label in one.labels else wrong)[label] += 1
    clips = Counter(label for one in scored for label in one.labels)
    return {
        label: ClassThreshold(on[label], alarms[label], found[label], clips[label], wrong[label])
        for label in record.labels
    }
