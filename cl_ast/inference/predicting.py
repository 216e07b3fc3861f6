"""Clips to predictions: clips are read and cut, routed, and answered by the task that each is sent to."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from cl_ast.audio.reading import AudioInput, seconds
from cl_ast.audio.windows import Failure, Segment, segments
from cl_ast.errors import NotFiniteError, TaskNotFoundError
from cl_ast.inference.answering import GPU_BATCH, SEGMENTS, Answer, NoAnswer, answer
from cl_ast.inference.prediction import AUTO, Prediction, Query
from cl_ast.inference.session import Session
from cl_ast.progress import ClAstWarning
from cl_ast.router import Route, Router, decide
from cl_ast.tasks.task_model import label_scores

Answered = tuple[Route, Answer | NoAnswer]
_MOST_SAMPLES = 2**25  # of clips that are answered together: half an hour
_MANY_SAMPLES = 2**22  # of more than `SEGMENTS` clips: four minutes, so that a GPU's memory holds their tokens
_MOST_NAMES = 5  # in a sentence
_MUCH = 0.1  # seconds of a clip that its task does not take, and that are worth a word


def predict(session: Session, clips: Iterable[AudioInput], query: Query) -> Iterator[Prediction | Failure]:
    """Classify clips in order: a prediction each (or several, as the query says), or a failure.

    A task that answers with values that are not numbers is a failure of the clip.

    Raises:
        TaskNotFoundError: no such task, or no task at all. This is known before any clip is read.
    """
    choice = _choice(session, query)
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


def _choice(session: Session, query: Query) -> Router | Route:
    """Return the router, or the one route of a query by name."""
    try:
        if query.task == AUTO:
            return _with_alpha(session.routing.router(), query.alpha)
        return Route(session.model(query.task).settings.name, 1.0, True, ())
    except TaskNotFoundError as error:
        if session.registry.tasks():
            raise
        raise TaskNotFoundError("the registry holds no task yet; teach it one with `cl-ast add-task`") from error


def _with_alpha(router: Router, alpha: float | None) -> Router:
    """Return the router with the limit of a query.

    Warns:
        ClAstWarning: with that limit no clip is unknown to some tasks.
    """
    if alpha is None:
        return router
    router = router.with_alpha(alpha)
    names = router.never_unknown()
    if names:
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        warnings.warn(
            f"with a limit of {alpha:.2f} no clip is unknown to {', '.join(names[:_MOST_NAMES])}{more}: too few clips "
            "calibrated it",
            ClAstWarning,
            stacklevel=2,
        )
    return router


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
        decided = decide(
            choice, described, lambda pairs: answer(session, [(segments[row], task) for row, task in pairs])
        )
        routes = choice.with_p_values(described, [route for route, _ in decided])
        return [[(route, one)] for route, (_, one) in zip(routes, decided, strict=True)]
    nearest = choice.choose(described)
    found = [several or [one] for several, one in zip(choice.fitting(described), nearest, strict=True)]
    p_values = choice.with_p_values(described, [several[0] for several in found])
    every_route = [
        [replace(route, p_values=one.p_values) for route in several]
        for several, one in zip(found, p_values, strict=True)
    ]
    pairs = [(segment, route.task) for segment, several in zip(segments, every_route, strict=True) for route in several]
    answers = iter(answer(session, pairs))
    return [[(route, next(answers)) for route in several] for several in every_route]


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
        p_value=route.p_value if routed else None,
        p_values=route.p_values,
        alpha=route.alpha,
        nearer=route.nearer,
    )
