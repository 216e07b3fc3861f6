"""Clips on their way through the engine: what is wanted of them, which tasks may answer, and the rows still to run."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import islice
from math import inf

import torch
from torch import Tensor

from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.audio.recordings import Recording
from cl_ast.audio.windows import Segment
from cl_ast.errors import MethodError
from cl_ast.inference.answering import SEGMENTS, Answer, NoAnswer, checked
from cl_ast.inference.joining import Cut, joined
from cl_ast.inference.predicting import prediction_of
from cl_ast.inference.prediction import AUTO, Prediction, Query
from cl_ast.router import Route, Router, most_confident
from cl_ast.serving.refusals import Refusal, late
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from registry import VersionRecord


@dataclass(frozen=True, slots=True)
class Question:
    """What is wanted of clips.

    Attributes:
        deterministic: whether the answer is exactly that of `predict --task`, which shares no pass with other clips.
        timeline: whether the scores of each step in time are wanted, too.
        deadline: when nobody waits for it any more, as `time.monotonic` counts.
    """

    query: Query
    deterministic: bool = False
    timeline: bool = False
    deadline: float = inf

    @property
    def routed(self) -> bool:
        """Whether the router chooses the task."""
        return self.query.task == AUTO

    @property
    def alone(self) -> bool:
        """Whether its rows share no pass with those of others."""
        return self.deterministic or self.timeline


@dataclass(frozen=True, slots=True)
class Timeline:
    """How a clip was classified over time.

    Attributes:
        step: how long each step is, in seconds.
        starts: (n,) where the steps begin, in seconds.
        scores: (n, classes) the probabilities of the task's labels.
    """

    step: float
    starts: Tensor
    scores: Tensor


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer for one clip: what is said of it, its logits (classes,), and the task and version that gave them."""

    prediction: Prediction
    logits: Tensor
    settings: TaskSettings
    version: VersionRecord
    timeline: Timeline | None = None


@dataclass(eq=False)
class Candidate:
    """A task that may answer one clip: the one that was named, or one that the router is considering.

    The model stays the same until the clip is answered, so that no answer is half of another version.

    Attributes:
        clip: the place of the clip in its work.
        cut: the windows of the clip that it is classified by; None for the clip as it is.
        logits: of the windows that have run, each (classes,).
        steps: of the same windows, those of each step in time (n, classes), where they are wanted.
    """

    clip: int
    route: Route
    model: TaskModel
    version: VersionRecord
    cut: Cut | None
    logits: list[Tensor] = field(default_factory=list)
    steps: list[Tensor] = field(default_factory=list)

    def windows(self, clip: Segment | Recording) -> Iterator[Segment]:
        """Yield what of the clip is classified. Raises AudioError where its file cannot be read."""
        if self.cut is not None:
            waveforms = self.cut.waveforms(clip)
        elif isinstance(clip, Recording):
            waveforms = clip.cut([0], clip.samples)
        else:
            yield clip  # with the block whose frames it shares
            return
        for waveform in waveforms:
            yield Segment(clip.path, waveform)

    def answer(self) -> Answer | NoAnswer:
        """Return the answer, when all windows have run."""
        one = checked(joined(self.logits), self.model.settings, self.version.task)
        return replace(one, cut=self.cut) if isinstance(one, Answer) else one

    def timeline(self, clip: Segment | Recording) -> Timeline:
        """Return the timeline, when all windows have run. Raises Refusal where the task has none."""
        try:
            self.model.check_timeline()
        except MethodError as error:
            raise Refusal("invalid", str(error)) from None
        step, first = self.model.backbone.time_step, (clip.start or 0.0) if isinstance(clip, Segment) else 0.0
        samples = len(clip.waveform) if isinstance(clip, Segment) else clip.samples
        windows = [0] if self.cut is None else self.cut.starts
        starts = torch.cat(
            [begin + step * torch.arange(len(one)) for begin, one in zip(windows, self.steps, strict=True)]
        )
        inside = starts < samples  # a shorter clip was padded
        scores = self.model.settings.probabilities(torch.cat(self.steps)[inside])
        return Timeline(step / SAMPLE_RATE, first + starts[inside].double() / SAMPLE_RATE, scores)


Row = tuple[Candidate, Segment]


@dataclass(eq=False)
class Work:
    """One clip, or a few windows of one, with a question; the engine answers it, and only the engine changes it.

    Attributes:
        clips: what is to be answered.
        parts: what the router reads of each clip; none by name.
        outcome: receives an answer a clip, or the error; a cancelled one is dropped before it is computed.
        queue_seconds, route_seconds, compute_seconds: how long it has waited, and taken.
    """

    clips: Sequence[Segment | Recording]
    question: Question
    parts: Sequence[Waveform] = ()
    outcome: "Future[list[Outcome]]" = field(default_factory=Future)
    submitted: float = field(default_factory=time.monotonic)
    queue_seconds: float = 0.0
    route_seconds: float = 0.0
    compute_seconds: float = 0.0
    _router: Router | None = None
    _described: Tensor | None = None
    _candidates: list[Candidate] = field(default_factory=list)
    _ready: deque[Row] = field(default_factory=deque)
    _coming: Iterator[Row] | None = None

    @property
    def begun(self) -> bool:
        """Whether its tasks are known."""
        return bool(self._candidates)

    @property
    def first(self) -> Row | None:
        """The next row; None where no row is ready."""
        return self._ready[0] if self._ready else None

    @property
    def finished(self) -> bool:
        """Whether every row has run."""
        return not self._ready and self._coming is None

    @property
    def streams(self) -> bool:
        """Whether its rows are read from a file, which is not done by the engine's thread."""
        return any(isinstance(clip, Recording) for clip in self.clips)

    def begin(self, candidates: list[Candidate], router: Router | None = None, described: Tensor | None = None) -> None:
        """Start on the rows of these candidates; a clip's nearest task comes before its runner-up."""
        self._router, self._described, self._candidates = router, described, candidates
        self._coming = ((one, row) for one in candidates for row in one.windows(self.clips[one.clip]))

    def read(self) -> None:
        """Make the next rows ready, 32 at most. Raises AudioError where a file cannot be read."""
        assert self._coming is not None
        found = list(islice(self._coming, SEGMENTS))
        self._ready.extend(found)
        if len(found) < SEGMENTS:
            self._coming = None

    def take(self) -> Row:
        """Return the next row, which is going to run."""
        return self._ready.popleft()

    def is_over(self) -> bool:
        """Return whether nobody waits for it, or no longer; who still waits is told."""
        if not self.outcome.done() and time.monotonic() >= self.question.deadline:
            self.fail(late())
        return self.outcome.done()

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        if not self.outcome.done() and self.outcome.set_running_or_notify_cancel():
            self.outcome.set_exception(error)

    def finish(self) -> list[Outcome]:
        """Return the answer, when every row has run; `answer` gives it.

        Raises Refusal where the logits are not numbers, or a timeline is wanted of a task that has none.
        """
        chosen = [self._chosen(clip) for clip in range(len(self.clips))]
        routes = [candidate.route for candidate, _ in chosen]
        if self._router is not None and self._described is not None:
            routes = self._router.with_p_values(self._described, routes)
        found = []
        for clip, route, (candidate, one) in zip(self.clips, routes, chosen, strict=True):
            if isinstance(one, NoAnswer):
                raise Refusal("broken_task", str(one.error))
            prediction = prediction_of(clip, route, one, self.question.query.top_k, routed=self.question.routed)
            timeline = candidate.timeline(clip) if self.question.timeline else None
            found.append(Outcome(prediction, one.logits, one.settings, candidate.version, timeline))
        return found

    def answer(self, found: list[Outcome]) -> None:
        """Give the answer to who waits for it."""
        if not self.outcome.done() and self.outcome.set_running_or_notify_cancel():
            self.outcome.set_result(found)

    def _chosen(self, clip: int) -> tuple[Candidate, Answer | NoAnswer]:
        """Return the candidate that answers a clip, and its answer."""
        own = [one for one in self._candidates if one.clip == clip]
        answered = [(one.route, one.answer()) for one in own]
        route, answer = answered[0] if self._router is None else most_confident(self._router, answered)
        return next(one for one in own if one.route is route), answer
