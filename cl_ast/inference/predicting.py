"""Clips to predictions: clips are read and cut, routed, and answered by the task that each is sent to."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from cl_ast.audio.reading import SAMPLE_RATE, AudioInput, seconds
from cl_ast.audio.recordings import MUCH, Recording
from cl_ast.audio.windows import Failure, Segment, segments, whole_or_recorded
from cl_ast.errors import AudioError, NotFiniteError, TaskNotFoundError
from cl_ast.inference.answering import GPU_BATCH, SEGMENTS, Answer, NoAnswer, answer
from cl_ast.inference.prediction import AUTO, Prediction, Query
from cl_ast.inference.session import Session
from cl_ast.progress import ClAstWarning
from cl_ast.router import Route, Router, decide, part_to_describe
from cl_ast.tasks.task_model import label_scores
from cl_ast.wording import some_of

Answered = tuple[Route, Answer | NoAnswer]
_MOST_SAMPLES = 2**25  # of clips that are answered together: half an hour
_MANY_SAMPLES = 2**22  # of more than `SEGMENTS` clips: four minutes, so that a GPU's memory holds their tokens
_MOST_NAMES = 5  # in a sentence


def predict(session: Session, clips: Iterable[AudioInput], query: Query) -> Iterator[Prediction | Failure]:
    """Classify clips in order: a prediction each (or several, as the query says), or a failure.

    A task that answers with values that are not numbers is a failure of the clip.

    Raises:
        TaskNotFoundError: no such task, or no task at all. This is known before any clip is read.
    """
    choice = choice_of(session, query)
    whole = query.whole or query.window is not None
    cut = segments(clips, query.window) if whole else whole_or_recorded(clips)
    most = SEGMENTS if session.backbone.device.type == "cpu" else GPU_BATCH
    for group in _groups(cut, most):
        readable = [one for one in group if not isinstance(one, Failure)]
        try:
            answers = iter(_answers(session, readable, choice, query))
        except AudioError as error:  # of a recording, which is alone in its group
            yield Failure(group[0].path, error.with_traceback(None))
            continue
        for one in group:
            if isinstance(one, Failure):
                yield one
                continue
            for route, answered in next(answers):
                if isinstance(answered, NoAnswer):
                    yield Failure(one.path, NotFiniteError(f"{one.path}: {answered.error}"))
                else:
                    yield prediction_of(one, route, answered, query.top_k, routed=isinstance(choice, Router))


def _groups(cut: Iterable[Segment | Recording | Failure], most: int) -> Iterator[list[Segment | Recording | Failure]]:
    """Yield clips as they are answered together: so many, or fewer where they are long; a recording is alone."""
    group: list[Segment | Recording | Failure] = []
    samples = 0
    for one in cut:
        if isinstance(one, Recording):
            if group:
                yield group
            yield [one]
            group, samples = [], 0
            continue
        group.append(one)
        samples += len(one.waveform) if isinstance(one, Segment) else 0
        many = len(group) >= SEGMENTS and samples > _MANY_SAMPLES
        if len(group) == most or many or samples > _MOST_SAMPLES:
            yield group
            group, samples = [], 0
    if group:
        yield group


def choice_of(session: Session, query: Query, *, skip_damaged: bool = False) -> Router | Route:
    """Return the router, or the one route of a query by name.

    Args:
        skip_damaged: the router leaves out a task whose file is damaged or missing, with a warning.
    """
    try:
        if query.task == AUTO:
            return _with_alpha(session.routing.router(skip_damaged=skip_damaged), query.alpha)
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
        warnings.warn(
            f"with a limit of {alpha:.2f} no clip is unknown to {some_of(names, _MOST_NAMES)}: "
            "too few clips calibrated it",
            ClAstWarning,
            stacklevel=2,
        )
    return router


def _answers(
    session: Session, clips: Sequence[Segment | Recording], choice: Router | Route, query: Query
) -> Sequence[Sequence[Answered]]:
    """Return the answers for each clip: one, or with `every` one from each task that it is known to."""

    def answered(pairs: Sequence[tuple[int, str]]) -> list[Answer | NoAnswer]:
        return answer(session, [(clips[row], task) for row, task in pairs], whole=query.whole)

    if isinstance(choice, Route):
        return [[(choice, one)] for one in answered([(row, choice.task) for row in range(len(clips))])]
    if not clips:
        return []
    parts = [part_to_describe(one.waveform if isinstance(one, Segment) else one) for one in clips]
    described = session.routing.space.describe(parts)
    if not query.every:
        decided = decide(choice, described, answered)
        decided_routes = choice.with_p_values(described, [route for route, _ in decided])
        return [[(route, one)] for route, (_, one) in zip(decided_routes, decided, strict=True)]
    nearest = choice.choose(described)
    found = [several or [one] for several, one in zip(choice.fitting(described), nearest, strict=True)]
    p_values = choice.with_p_values(described, [several[0] for several in found])
    routes = [
        [replace(route, p_values=one.p_values) for route in several]
        for several, one in zip(found, p_values, strict=True)
    ]
    answers = iter(answered([(row, route.task) for row, several in enumerate(routes) for route in several]))
    return [[(route, next(answers)) for route in several] for several in routes]


def _labels(one: Answer, top_k: int | None) -> tuple[tuple[str, float], ...]:
    """Return the best labels with their probabilities, and of a task of tags all that are true."""
    if one.tags is None:
        return tuple(label_scores(one.logits[None], one.settings, top_k)[0])
    every = label_scores(one.logits[None], one.settings, None)[0]
    return tuple(pair for rank, pair in enumerate(every) if top_k is None or rank < top_k or pair[0] in one.tags)


def prediction_of(
    clip: Segment | Recording, route: Route, one: Answer, top_k: int | None, *, routed: bool
) -> Prediction:
    """Return what is said of a clip that a task has answered.

    Args:
        routed: whether the router chose the task.
    """
    start, end, length = None, None, 0.0
    if isinstance(clip, Segment):
        start, end, length = clip.start, clip.end, seconds(clip.waveform)
    else:
        length = clip.samples / SAMPLE_RATE
    most, cut = one.settings.front_end.seconds, one.cut
    first, last = (0.0, min(most, length)) if cut is None else cut.span
    begin = start or 0.0
    return Prediction(
        path=clip.path,
        task=route.task,
        task_score=route.score,
        known=route.known,
        labels=_labels(one, top_k),
        tasks=route.nearest if routed else None,
        start=start,
        end=end,
        taken=(round(begin + first, 3), round(begin + last, 3)),
        clip_seconds=round(length, 2) if length > most + MUCH else None,
        joined=None if cut is None else (len(cut.starts), cut.windows, most),
        warnings=tuple(clip.notes),
        p_value=route.p_value if routed else None,
        p_values=route.p_values,
        alpha=route.alpha,
        nearer=route.nearer,
        tags=one.tags,
    )
