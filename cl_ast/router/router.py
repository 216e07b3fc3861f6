"""Chooses the task that a clip is sent to, from the routing of all tasks, and whether the clip belongs to it at all."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cl_ast.errors import NotFiniteError, RegistryError
from cl_ast.router.calibration import ALPHA
from cl_ast.router.kinds import KINDS, State, noise_fits
from cl_ast.router.task_routing import TaskRouting


@dataclass(frozen=True, slots=True)
class Route:
    """The task that a clip is sent to.

    Attributes:
        task: the name of the task.
        score: the router's score for it, in [0, 1].
        known: whether the clip belongs to the task, that is, whether `p_value` is at least `ALPHA`.
        nearest: the tasks with the highest scores, as (task, score), best first.
        p_value: the share of the task's own clips that fit it no better than this clip.
        runner_up: the route to the second nearest task, if that is nearly as near; the tie-break then decides between
            the two.
    """

    task: str
    score: float
    known: bool
    nearest: tuple[tuple[str, float], ...]
    p_value: float = 1.0
    runner_up: "Route | None" = None


class Router:
    """A router over all tasks. Its answers do not depend on the order in which tasks are passed or were learned."""

    def __init__(self, tasks: Mapping[str, TaskRouting], noise: State | None = None) -> None:
        """
        Args:
            tasks: the routing of each task, by name.
            noise: `RouterSpace.noise`, which was used to calibrate the tasks.

        Raises:
            RegistryError: the tasks were learned for different kinds of router.
        """
        self._noise = noise
        self._tasks = {name: tasks[name] for name in sorted(tasks)}
        self._names = list(self._tasks)
        kinds = {task.kind for task in tasks.values()}
        if len(kinds) != 1:
            raise RegistryError(
                f"the tasks were learned for different routers ({', '.join(sorted(kinds))}); "
                "rebuild their routing with `cl-ast route`"
            )
        (kind,) = kinds
        self._margin = KINDS[kind].margin
        self._scores = KINDS[kind].chooser([task.state for task in self._tasks.values()])

    def choose(self, described: Tensor, *, nearest: int = 5) -> list[Route]:
        """Return the route of each described clip (n, d) to its nearest task; equal scores are ordered by name.

        Args:
            nearest: how many of the nearest tasks each route lists.

        Raises:
            NotFiniteError: a score is not a number.
        """
        if not len(described):
            return []
        scores = self._finite_scores(described)
        values, order = scores.sort(dim=1, descending=True, stable=True)
        firsts = self._routes(described, values, order, nearest, 0)
        close = (values[:, :1] - values[:, 1:2] < self._margin).any(dim=1).nonzero()[:, 0]
        seconds = self._routes(described[close], values[close], order[close], nearest, 1) if len(close) else []
        for row, second in zip(close.tolist(), seconds, strict=True):
            firsts[row] = replace(firsts[row], runner_up=second)
        return firsts

    def confidence(self, task: str) -> Tensor:
        """Return the order statistics (101,) of how confident that task's head is of its own clips."""
        return self._tasks[task].confidence

    def fitting(self, described: Tensor) -> list[list[Route]]:
        """Return the routes of each described clip (n, d) to all tasks that it belongs to, best first.

        Raises:
            NotFiniteError: a score is not a number.
        """
        scores = self._finite_scores(described).tolist()
        noise = noise_fits(self._noise, described)
        p_values = [task.p_values(described, noise).tolist() for task in self._tasks.values()]
        out = []
        for row, values in enumerate(scores):
            each = [(value, name, ps[row]) for value, name, ps in zip(values, self._names, p_values, strict=True)]
            each.sort(key=lambda one: (-one[0], one[1]))
            near = tuple((name, _unit(value)) for value, name, _ in each)
            out.append([Route(name, _unit(value), True, near, p) for value, name, p in each if p >= ALPHA])
        return out

    def _finite_scores(self, described: Tensor) -> Tensor:
        scores = self._scores(described)
        if not torch.isfinite(scores).all():
            raise NotFiniteError("the router gives values that are not numbers; rebuild it with `cl-ast route`")
        return scores

    def _p_values(self, described: Tensor, chosen: Tensor) -> list[float]:
        """Return the p-value of each described clip (n, d) under its task, whose index is in `chosen` (n,)."""
        out = described.new_zeros(len(described))
        for index in sorted(set(chosen.tolist())):
            rows = chosen == index
            sent = described[rows]
            out[rows] = self._tasks[self._names[index]].p_values(sent, noise_fits(self._noise, sent))
        return [round(value, 2) for value in out.tolist()]

    def _routes(self, described: Tensor, values: Tensor, order: Tensor, nearest: int, place: int) -> list[Route]:
        """Return each clip's route to its nearest task (place 0), its second nearest (place 1), and so on."""
        p_values = self._p_values(described, order[:, place])
        out = []
        for row_values, row, p_value in zip(values.tolist(), order.tolist(), p_values, strict=True):
            near = tuple((self._names[i], _unit(v)) for i, v in zip(row[:nearest], row_values[:nearest], strict=True))
            name, score = self._names[row[place]], _unit(row_values[place])
            out.append(Route(name, score, p_value >= ALPHA, near, p_value))
        return out


def _unit(score: float) -> float:
    return min(1.0, max(0.0, score))
