"""Test accuracy of tasks, by name and routed, in one pass over their test clips."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial

import streams
from cl_ast.audio.reading import Waveform
from cl_ast.audio.windows import Segment
from cl_ast.batching import ahead, chunks
from cl_ast.errors import AudioError, NotFiniteError, StreamError
from cl_ast.inference.answering import Answer, NoAnswer, answer, joined_logits_of
from cl_ast.inference.session import Session
from cl_ast.progress import Progress, Step, silent
from cl_ast.router import Route, Router, decide, part_to_describe
from cl_ast.tasks.source import reload_version
from cl_ast.tasks.task_model import label_scores
from registry import Accuracy, TaskRecord

_CHUNK, _GPU_CHUNK = 64, 256  # clips


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one test clip.

    Attributes:
        clip: the clip, with its true label.
        predicted, probability: the label that the task gives, by name, and its probability.
        route: where the router sent the clip; None where routing was not measured.
        routed_label: the label that it got there; None too where that task cannot answer.
    """

    clip: streams.Clip
    predicted: str
    probability: float
    route: Route | None = None
    routed_label: str | None = None

    @property
    def label(self) -> str:
        """The true label."""
        return self.clip.label


@dataclass(frozen=True, slots=True)
class Measured:
    """One task's test accuracy.

    Attributes:
        oracle: by name.
        auto: routed: the share of clips whose task and label are both right; None where routing was not measured.
        routed: how many clips the router sent to each task.
        declined: how many clips it answered "unknown"; they count where they were sent all the same.
        labels: the task's classes, in the order of the head's outputs.
        outcomes: clip by clip, in the order in which they were given; `details.details` explains them.
    """

    task: str
    clips: int
    oracle: float
    auto: float | None = None
    routed: Mapping[str, int] | None = None
    declined: int = 0
    labels: tuple[str, ...] = field(default=(), repr=False)
    outcomes: tuple[Outcome, ...] = field(default=(), repr=False)

    def records(self) -> list[Accuracy]:
        """Return what the registry keeps of it."""
        out = [Accuracy(self.task, "oracle", self.oracle, self.clips)]
        if self.auto is not None:
            out.append(Accuracy(self.task, "auto", self.auto, self.clips, self.routed or {}))
        return out


def measure(
    session: Session,
    name: str,
    clips: Sequence[streams.Clip],
    router: Router | None = None,
    progress: Progress = silent,
) -> Measured:
    """Test one task. Each clip is read once, and answered as `predict` answers it: a longer one by its windows.

    Args:
        router: over all tasks; None measures by name only. What it decides is decided as `predict` does it.

    Raises:
        AudioError: a clip cannot be read.
        NotFiniteError: the task answers with values that are not numbers. Where another task does that to which a clip
            is routed, the clip is answered wrongly.
    """
    model = session.model(name)
    outcomes: list[Outcome] = []
    size = _GPU_CHUNK if model.backbone.device.type == "cuda" else _CHUNK
    parts = [[clips[index] for index in part] for part in chunks(len(clips), size)]
    with closing(ahead(partial(session.clips.read, [clip.place for clip in mine]) for mine in parts)) as read:
        for mine, waveforms in zip(parts, read, strict=True):
            by_name = [Answer(logits, model.settings) for logits in joined_logits_of(model, waveforms)]
            found = [_outcome(clip, one) for clip, one in zip(mine, by_name, strict=True)]
            outcomes += found if router is None else _routed(session, router, name, found, waveforms, by_name)
            progress(Step(f"measuring {name}", len(outcomes), len(clips)))
    right = sum(one.predicted == one.label for one in outcomes) / len(clips)
    labels, kept = model.settings.labels, tuple(outcomes)
    if router is None:
        return Measured(name, len(clips), right, labels=labels, outcomes=kept)
    routes = [(one.route, one) for one in outcomes if one.route is not None]
    right_and_routed = sum(route.task == name and one.routed_label == one.label for route, one in routes)
    routed = dict(Counter(route.task for route, _ in routes))
    declined = sum(not route.known for route, _ in routes)
    return Measured(name, len(clips), right, right_and_routed / len(clips), routed, declined, labels, kept)


def _outcome(clip: streams.Clip, answered: Answer) -> Outcome:
    settings = answered.settings
    ((_, probability),) = label_scores(answered.logits[None], settings.labels, 1, settings.temperature)[0]
    return Outcome(clip, answered.label, probability)


def _routed(
    session: Session,
    router: Router,
    name: str,
    outcomes: Sequence[Outcome],
    waveforms: Sequence[Waveform],
    by_name: Sequence[Answer],
) -> list[Outcome]:
    """Return the outcomes with where the router sends each clip, and with the label that it gets there."""
    places = [one.clip.place for one in outcomes]
    parts = [part_to_describe(waveform) for waveform in waveforms]
    described = session.descriptions.describe(session.routing.space, places, parts)
    segments = [Segment(str(place), waveform) for place, waveform in zip(places, waveforms, strict=True)]
    decided = decide(router, described, partial(_answers, session, name, by_name, segments))
    return [
        replace(outcome, route=route, routed_label=one.label if isinstance(one, Answer) else None)
        for outcome, (route, one) in zip(outcomes, decided, strict=True)
    ]


def _answers(
    session: Session,
    name: str,
    own: Sequence[Answer],
    segments: Sequence[Segment],
    pairs: Sequence[tuple[int, str]],
) -> list[Answer | NoAnswer]:
    """Answer pairs of a segment's row and a task; `own` are the answers of the task `name`, which are there already."""
    others = iter(answer(session, [(segments[row], task) for row, task in pairs if task != name]))
    return [own[row] if task == name else next(others) for row, task in pairs]


def measure_again(
    session: Session, records: Sequence[TaskRecord], *, auto: bool = True, progress: Progress = silent
) -> tuple[list[Measured], dict[str, str]]:
    """Measure stored tasks and record it, as `Manager.evaluate` describes it."""
    session.registry.require_writable()  # before the work, and not after it
    router = session.routing.router() if auto else None
    measured, skipped = measure_stored(session, records, router, progress)
    if measured:
        session.registry.record([accuracy for one in measured for accuracy in one.records()])
    return measured, skipped


def measure_stored(
    session: Session,
    records: Sequence[TaskRecord],
    router: Router | None,
    progress: Progress = silent,
) -> tuple[list[Measured], dict[str, str]]:
    """Measure tasks on the test clips that they were trained with, loaded again.

    Returns what was measured, and the tasks that could not be measured with the reason: clips that have moved or
    changed, and tasks that answer with values that are not numbers, are no reason to stop.
    """
    measured, skipped = [], {}
    for record in records:
        try:
            task = reload_version(session.registry, record.version)
            measured.append(measure(session, record.name, task.test, router, progress))
        except (StreamError, AudioError, NotFiniteError) as error:
            skipped[record.name] = str(error)
    return measured, skipped
