"""Test accuracy of tasks, or mAP of those of tags, by name and routed, in one pass over their test clips."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

import streams
from cl_ast.audio.reading import Waveform
from cl_ast.audio.windows import Segment
from cl_ast.batching import ahead, chunks
from cl_ast.errors import AudioError, NotFiniteError, StreamError
from cl_ast.inference.answering import Answer, NoAnswer, answer, joined_logits_of
from cl_ast.inference.session import Session
from cl_ast.progress import Progress, Step, silent
from cl_ast.router import Route, Router, decide, part_to_describe
from cl_ast.tasks.kind_names import ACCURACY, TAGS
from cl_ast.tasks.label_kinds import KINDS
from cl_ast.tasks.source import reload_version
from cl_ast.tasks.tag_metrics import lwlrap, mean_average_precision
from cl_ast.tasks.task_model import label_scores
from registry import Accuracy, TaskRecord

_CHUNK, _GPU_CHUNK = 64, 256  # clips


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one test clip.

    Attributes:
        clip: the clip, with its true label.
        predicted, probability: the label that the task gives, by name, and its probability; of tags the most probable.
        logits: of tags, of all labels, by name; empty for a task of classes.
        said: that label; of tags all whose probabilities reach their thresholds, by name.
        route: where the router sent the clip; None where routing was not measured.
        routed_label: the label that it got there; None too where that task cannot answer.
    """

    clip: streams.Clip
    predicted: str
    probability: float
    logits: tuple[float, ...] = field(repr=False, compare=False)
    said: tuple[str, ...]
    route: Route | None = None
    routed_label: str | None = None

    @property
    def label(self) -> str:
        """The true label; of tags all of them, in one text."""
        return self.clip.label


@dataclass(frozen=True, slots=True)
class Measured:
    """One task's test accuracy, or its mAP.

    Attributes:
        oracle: by name.
        auto: routed: the share of clips whose task and label are both right; None where routing was not measured. For
            mAP, the tags of a clip that was sent to another task are never found.
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
    metric: str = ACCURACY

    @property
    def lwlrap(self) -> float | None:
        """The label-weighted label-ranking average precision by name, of a task of tags."""
        return None if self.metric == ACCURACY else lwlrap(*ranked(self.outcomes, self.labels))

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
    settings, kept = model.settings, tuple(outcomes)
    metric = settings.labelling.metric
    figure = _mean_average_precision if settings.kind == TAGS else _accuracy
    by_name_figure = figure(kept, settings.labels, None)
    if router is None:
        return Measured(name, len(clips), by_name_figure, labels=settings.labels, outcomes=kept, metric=metric)
    routes = [one.route for one in outcomes if one.route is not None]
    routed = dict(Counter(route.task for route in routes))
    declined = sum(not route.known for route in routes)
    auto = figure(kept, settings.labels, name)
    return Measured(name, len(clips), by_name_figure, auto, routed, declined, settings.labels, kept, metric)


def _outcome(clip: streams.Clip, answered: Answer) -> Outcome:
    settings = answered.settings
    ((_, probability),) = label_scores(answered.logits[None], settings, 1)[0]
    if answered.tags is None:
        return Outcome(clip, answered.label, probability, (), (answered.label,))
    return Outcome(clip, answered.label, probability, tuple(answered.logits.tolist()), answered.tags)


def _accuracy(outcomes: Sequence[Outcome], labels: Sequence[str], task: str | None) -> float:
    """Return the share of clips that are right, by name or, with the name of their task, routed."""
    if task is None:
        return sum(one.predicted == one.label for one in outcomes) / len(outcomes)
    return sum(is_right_and_routed(one, task) for one in outcomes) / len(outcomes)


def _mean_average_precision(outcomes: Sequence[Outcome], labels: Sequence[str], task: str | None) -> float:
    """Return mAP over all clips, by name or, with the name of their task, routed."""
    scores, truth = ranked(outcomes, labels)
    if task is not None:
        elsewhere = torch.tensor([not is_routed_to(one, task) for one in outcomes])
        scores = scores.masked_fill(elsewhere[:, None], -torch.inf)
    return mean_average_precision(scores, truth)


def is_routed_to(outcome: Outcome, task: str) -> bool:
    """Return whether the router sent a clip to a task that could answer."""
    return outcome.route is not None and outcome.route.task == task and outcome.routed_label is not None


def is_right_and_routed(outcome: Outcome, task: str) -> bool:
    """Return whether the router sent a clip to its own task, and the label that it got there is right."""
    return is_routed_to(outcome, task) and outcome.routed_label == outcome.label


def ranked(outcomes: Sequence[Outcome], labels: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return the logits of tags by name, which rank them, and which are true, each (clips, labels)."""
    truth = KINDS[TAGS].targets([one.clip.labels for one in outcomes], labels)
    return torch.tensor([one.logits for one in outcomes]), truth.bool()


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
