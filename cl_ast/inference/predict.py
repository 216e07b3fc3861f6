"""Clips to answers: read, cut, routed, and run under the task that each was sent to."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.audio.front_ends import FrontEnd
from cl_ast.audio.log_mel import LogMelFrontEnd, frame_count, log_mel
from cl_ast.audio.windows import Segment, pieces
from cl_ast.backbone.device import precision
from cl_ast.errors import TaskNotFoundError
from cl_ast.inference.prediction import Clip, Failure, Prediction, Window
from cl_ast.inference.routing import Routes
from cl_ast.inference.session import Held
from cl_ast.router import Route, Router
from cl_ast.tasks import mixed_batch as bank
from cl_ast.tasks.task_model import TaskModel, TaskSettings, label_scores

GROUP = 32  # pieces that are routed and put in order together
BATCH = 8  # rows of one pass: more gain nothing on a CPU (docs/performance.md)


@dataclass(frozen=True, slots=True)
class Answer:
    """Logits (classes,), float32 on the CPU, and the task that gave them, as it was then."""

    logits: Tensor
    settings: TaskSettings


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
    choice = _choice(held, routes, task)  # a wrong name fails before any clip is read
    cut = pieces(clips, window)
    while group := list(itertools.islice(cut, GROUP)):
        yield from _answer(held, routes, group, choice, top_k, every)


def _choice(held: Held, routes: Routes, task: str) -> Router | Route:
    try:
        if task == "auto":
            return routes.router()
        return Route(held.stored(task).model.settings.name, 1.0, True, ())
    except TaskNotFoundError as error:
        if held.registry.tasks():
            raise
        raise TaskNotFoundError("the registry holds no task yet; teach it one with `cl-ast add-task`") from error


def _answer(
    held: Held,
    routes: Routes,
    group: Sequence[Segment | Failure],
    choice: Router | Route,
    top_k: int | None,
    every: bool,
) -> Iterator[Prediction | Failure]:
    """Answer a group in order, under the one route that was asked for or those that a router chooses."""
    heard = [piece for piece in group if isinstance(piece, Segment)]
    sent = _sent(routes, heard, choice, every)
    asked = [(piece, one.task) for piece, several in zip(heard, sent, strict=True) for one in several]
    answers = iter(answer(held, asked))
    routes_of = iter(sent)
    for item in group:
        if isinstance(item, Failure):
            yield item
            continue
        answered = [(route, next(answers)) for route in next(routes_of)]
        if isinstance(choice, Router) and not every:
            answered = [_more_confident(choice, answered)]
        for route, one in answered:
            yield Prediction(
                path=item.path,
                task=route.task,
                task_score=route.score,
                known=route.known,
                labels=tuple(label_scores(one.logits[None], one.settings.labels, top_k)[0]),
                tasks=route.nearest if isinstance(choice, Router) else None,
                start=item.start,
                end=item.end,
            )


def _sent(routes: Routes, heard: Sequence[Segment], choice: Router | Route, every: bool) -> list[list[Route]]:
    """Each clip's route, and its runner_up's where there is one; with `every`, one to each task that it is known to."""
    if isinstance(choice, Route):
        return [[choice]] * len(heard)
    if not heard:
        return []
    described = routes.space.describe([piece.waveform for piece in heard])
    best = choice.choose(described)
    if not every:
        return [[route, route.runner_up] if route.runner_up else [route] for route in best]
    return [fitting or [nearest] for fitting, nearest in zip(choice.fitting(described), best, strict=True)]


def _more_confident(router: Router, answered: Sequence[tuple[Route, Answer]]) -> tuple[Route, Answer]:
    """Of a route and its runner_up, that whose head is more_confident of the clip."""
    (route, first), *others = answered
    for runner_up, second in others:
        if router.more_confident(route, first.logits, second.logits) is runner_up:
            return runner_up, second
    return route, first


def answer(held: Held, asked: Sequence[tuple[Segment, str]]) -> list[Answer]:
    """Each clip under the task that is named beside it, in order, through the bank; a clip may be asked twice.

    The database is asked once for all. Tasks in memory answer first; the others are read meanwhile.

    Raises:
        TaskNotFoundError, CorruptRegistryError: of one of the tasks.
    """
    if not asked:
        return []
    versions = held.registry.current({name for _, name in asked})
    backbone = held.backbone  # loaded here, not by the thread that reads ahead
    order = sorted(
        range(len(asked)),
        key=lambda row: (versions[asked[row][1]] not in held.loaded, versions[asked[row][1]].method, asked[row][1]),
    )
    size = BATCH if backbone.device.type == "cpu" else GROUP
    batches = [order[first : first + size] for first in range(0, len(order), size)]
    out: dict[int, Answer] = {}
    for rows, after in zip(batches, [*batches[1:], []], strict=True):
        names = [asked[row][1] for row in rows]
        tasks = {name: held.version(name, versions[name]).model for name in dict.fromkeys(names)}
        held.loaded.expect([versions[asked[row][1]] for row in after])
        with torch.inference_mode(), precision(backbone.device):
            answers = bank.logits(_heard([(tasks[name], asked[row][0]) for row, name in zip(rows, names, strict=True)]))
        for row, name, logits in zip(rows, names, answers, strict=True):
            out[row] = Answer(logits.float().cpu(), tasks[name].settings)
    return [out[row] for row in range(len(asked))]


def _heard(asked: Sequence[tuple[TaskModel, Segment]]) -> list[bank.Asked]:
    """Each piece as its task's front end hears it; those of one front end at once."""
    out: dict[int, Tensor] = {}
    device = asked[0][0].backbone.device
    for front_end in dict.fromkeys(model.settings.front_end for model, _ in asked):
        rows = [row for row, (model, _) in enumerate(asked) if model.settings.front_end == front_end]
        out |= zip(rows, _features(front_end, [asked[row][1] for row in rows], device), strict=True)
    return [(model, out[row]) for row, (model, _) in enumerate(asked)]


def _features(front_end: FrontEnd, heard: Sequence[Segment], device: torch.device) -> Tensor:
    """(pieces, *shape). Windows of one stretch share its log-mel frames, which are computed once."""
    if not isinstance(front_end, LogMelFrontEnd) or any(piece.stretch is None for piece in heard):
        return front_end([piece.waveform for piece in heard], device)
    rows = []
    for piece in heard:
        assert piece.stretch is not None
        whole = piece.stretch.once(lambda samples: log_mel([samples], frame_count(len(samples)), device=device)[0])
        count = min(front_end.frames, frame_count(len(piece.waveform)))
        frames = whole[piece.first : piece.first + count]
        rows.append(F.pad(frames, (0, 0, 0, front_end.frames - count)))
    return front_end.normalise(torch.stack(rows))
