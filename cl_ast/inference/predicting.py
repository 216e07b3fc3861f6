"""Clips to predictions: clips are read and cut, routed, and answered by the task that each is sent to."""

from collections.abc import Iterable, Iterator, Sequence

from cl_ast.audio.reading import AudioInput, seconds
from cl_ast.audio.windows import Failure, Segment, segments
from cl_ast.errors import NotFiniteError, TaskNotFoundError
from cl_ast.inference.answering import GPU_BATCH, SEGMENTS, Answer, NoAnswer, answer
from cl_ast.inference.prediction import AUTO, Prediction, Query
from cl_ast.inference.session import Session
from cl_ast.router import Route, Router, decide
from cl_ast.tasks.task_model import label_scores

Answered = tuple[Route, Answer | NoAnswer]
_MOST_SAMPLES = 2**25  # of clips that are answered together: half an hour
_MANY_SAMPLES = 2**22  # of more than `SEGMENTS` clips: four minutes, so that a GPU's memory holds their tokens
_MUCH = 0.1  # seconds of a clip that its task does not take, and that are worth a word


def predict(session: Session, clips: Iterable[AudioInput], query: Query) -> Iterator[Prediction | Failure]:
    """Classify clips in order: a prediction each (or several, as the query says), or a failure.

    A task that answers with values that are not numbers is a failure of the clip.

    Raises:
        TaskNotFoundError: no such task, or no task at all. This is known before any clip is read.
    """
    choice = _choice(session, query.task)
    cut = segments(clips, query.window)
    most = SEGMENTS if session.backbone.device.type == "cpu" else GPU_BATCH
    for group in _groups(cut, most):
        readable = [one for one in group if isinstance(one, Segment)]
        answers = iter(_answers(session, readable, choice, query.every))
        for one in group:
            if isinstance(one, Failure):
                yield one
                continue
            for route, answered in next(answers):
                if isinstance(answered, NoAnswer):
                    yield Failure(one.path, NotFiniteError(f"{one.path}: {answered.error}"))
                else:
                    yield _prediction(one, route, answered, query.top_k, routed=isinstance(choice, Router))


def _groups(cut: Iterable[Segment | Failure], most: int) -> Iterator[list[Segment | Failure]]:
    """Yield segments as they are answered together: so many, or fewer where they are long."""
    group: list[Segment | Failure] = []
    samples = 0
    for one in cut:
        group.append(one)
        samples += len(one.waveform) if isinstance(one, Segment) else 0
        many = len(group) >= SEGMENTS and samples > _MANY_SAMPLES
        if len(group) == most or many or samples > _MOST_SAMPLES:
            yield group
            group, samples = [], 0
    if group:
        yield group


def _choice(session: Session, task: str) -> Router | Route:
    """Return the router, or the one route of a query by name."""
    try:
        if task == AUTO:
            return session.routing.router()
        return Route(session.model(task).settings.name, 1.0, True, ())
    except TaskNotFoundError as error:
        if session.registry.tasks():
            raise
        raise TaskNotFoundError("the registry holds no task yet; teach it one with `cl-ast add-task`") from error


def _answers(
    session: Session, segments: Sequence[Segment], choice: Router | Route, every: bool
) -> Sequence[Sequence[Answered]]:
    """Return the answers for each segment: one, or with `every` one from each task that it is known to."""
    if isinstance(choice, Route):
        return [[(choice, one)] for one in answer(session, [(segment, choice.task) for segment in segments])]
    if not segments:
        return []
    described = session.routing.space.describe([segment.waveform for segment in segments])
    if not every:
        return [
            [answered]
            for answered in decide(
                choice, described, lambda pairs: answer(session, [(segments[row], task) for row, task in pairs])
            )
        ]
    nearest = choice.choose(described)
    routes = [several or [one] for several, one in zip(choice.fitting(described), nearest, strict=True)]
    pairs = [(segment, route.task) for segment, several in zip(segments, routes, strict=True) for route in several]
    found = iter(answer(session, pairs))
    return [[(route, next(found)) for route in several] for several in routes]


def _prediction(segment: Segment, route: Route, one: Answer, top_k: int | None, *, routed: bool) -> Prediction:
    most, length = one.settings.front_end.seconds, seconds(segment.waveform)
    cut = length > most + _MUCH
    begin = segment.start or 0.0
    return Prediction(
        path=segment.path,
        task=route.task,
        task_score=route.score,
        known=route.known,
        labels=tuple(label_scores(one.logits[None], one.settings.labels, top_k)[0]),
        tasks=route.nearest if routed else None,
        start=segment.start,
        end=segment.end,
        taken=(begin, round(begin + min(most, length), 3)),
        clip_seconds=round(length, 2) if cut else None,
        warnings=segment.notes,
    )
