"""Clips to answers: read, cut, routed, and run under the task that each was sent to."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

from cl_ast.audio import Waveform
from cl_ast.errors import TaskNotFoundError
from cl_ast.held import Held
from cl_ast.measuring import answer, settle
from cl_ast.prediction import Clip, Failure, Piece, Prediction, Window, pieces
from cl_ast.router import Route, Router
from cl_ast.routes import Routes
from cl_ast.task_model import label_scores

_CHUNK = 32


def predict(
    held: Held,
    routes: Routes,
    clips: Iterable[Clip],
    task: str,
    top_k: int | None,
    window: Window | None,
    every: bool = False,
) -> Iterator[Prediction | Failure]:
    """As `Manager.predict` says."""
    if not held.registry.tasks():
        raise TaskNotFoundError("the registry holds no task yet; teach it one with `cl-ast add-task`")
    choice: Router | Route
    if task == "auto":
        choice = routes.router()
    else:
        held.stored(task)  # a wrong name fails before any clip is read
        choice = Route(held.registry.task(task).name, 1.0, True, ())
    cut = itertools.chain.from_iterable(pieces(clip, window) for clip in clips)
    while group := list(itertools.islice(cut, _CHUNK)):
        yield from _answer(held, routes, group, choice, top_k, every)


def _answer(
    held: Held,
    routes: Routes,
    group: Sequence[Piece | Failure],
    choice: Router | Route,
    top_k: int | None,
    every: bool,
) -> Iterator[Prediction | Failure]:
    """Answer a group in order, under the one route that was asked for or those that a router chooses."""
    heard = [piece for piece in group if isinstance(piece, Piece)]
    sent = _sent(routes, [piece.waveform for piece in heard], choice, every)
    waveforms = [piece.waveform for piece, several in zip(heard, sent, strict=True) for _ in several]
    chosen = [route for several in sent for route in several]
    # Each task is looked up once a group: a look-up asks the database.
    wanted = {one.task for route in chosen for one in (route, route.rival) if one}
    models = {name: held.stored(name).model for name in wanted}
    if isinstance(choice, Router) and not every:
        settled, logits_of_each = settle(waveforms, chosen, models.__getitem__, choice)
    else:
        settled, logits_of_each = chosen, answer(waveforms, chosen, models.__getitem__)
    answers = iter(zip(settled, logits_of_each, strict=True))
    routes_of = iter(sent)
    for item in group:
        if isinstance(item, Failure):
            yield item
            continue
        for route, logits in itertools.islice(answers, len(next(routes_of))):
            labels = label_scores(logits[None], models[route.task].settings.labels, top_k)[0]
            yield Prediction(
                path=item.path,
                task=route.task,
                task_score=route.score,
                known=route.known,
                labels=tuple(labels),
                tasks=route.nearest if isinstance(choice, Router) else None,
                start=item.start,
                end=item.end,
            )


def _sent(routes: Routes, waveforms: Sequence[Waveform], choice: Router | Route, every: bool) -> list[list[Route]]:
    """Each clip's one route; with `every`, a route to each task that it is known to, or to the nearest."""
    if isinstance(choice, Route):
        return [[choice]] * len(waveforms)
    if not waveforms:
        return []
    described = routes.space.describe(waveforms)
    best = [[route] for route in choice.choose(described)]
    if not every:
        return best
    return [fitting or nearest for fitting, nearest in zip(choice.fitting(described), best, strict=True)]
