"""Chooses the task that a clip is sent to, from the routing of all tasks, and whether the clip belongs to it at all."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cl_ast.errors import NotFiniteError, RegistryError
from cl_ast.router.calibration import ALPHA, checked_alpha, lowest_p, p_values
from cl_ast.router.kinds import KINDS, State, noise_fits
from cl_ast.router.task_routing import TaskRouting


@dataclass(frozen=True, slots=True)
class Route:
    """The task that a clip is sent to.

    Attributes:
        task: the name of the task.
        score: the router's score for it, in [0, 1].
        known: whether the clip belongs to the task, that is, whether `p_value` is at least the task's limit.
        nearest: the tasks with the highest scores, as (task, score), best first.
        p_value: the share of the task's own clips that fit it no better than this clip, rounded down to hundredths.
        alpha: the task's limit, below which a p-value makes a clip unknown.
        nearer: what an unknown clip is nearer to than to the task, "noise" or "negatives"; empty for neither.
        p_values: the p-value of each of `nearest`; empty until `Router.with_p_values` fills it.
        runner_up: the route to the second nearest task, if that is nearly as near; the tie-break then decides between
            the two.
    """

    task: str
    score: float
    known: bool
    nearest: tuple[tuple[str, float], ...]
    p_value: float = 1.0
    runner_up: "Route | None" = None
    alpha: float = ALPHA
    nearer: str = ""
    p_values: tuple[float, ...] = ()


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
        self._alpha: float | None = None

    def with_alpha(self, alpha: float | None) -> "Router":
        """Return the same router with another limit for "unknown" for all tasks; None for each task's own.

        Raises:
            RegistryError: it is no whole number of hundredths from 0 to 1.
        """
        other = copy(self)
        other._alpha = None if alpha is None else checked_alpha(alpha)
        return other

    def without(self, task: str) -> "Router | None":
        """Return a router over the other tasks, with the same limit; None where there are none."""
        others = {name: routing for name, routing in self._tasks.items() if name != task}
        return Router(others, self._noise).with_alpha(self._alpha) if others else None

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
            fitting = [(value, name, p) for value, name, p in each if p >= self._limit(name)]
            out.append([Route(name, _unit(v), True, near, p, alpha=self._limit(name)) for v, name, p in fitting])
        return out

    def with_p_values(self, described: Tensor, routes: Sequence[Route]) -> list[Route]:
        """Return the route of each described clip (n, d) with the p-values of the nearest tasks that it lists."""
        rows_of: dict[str, list[int]] = {}
        for row, route in enumerate(routes):
            for name, _ in route.nearest:
                rows_of.setdefault(name, []).append(row)
        noise = noise_fits(self._noise, described)
        found: dict[tuple[int, str], float] = {}
        for name, rows in rows_of.items():
            values = self._tasks[name].p_values(described[rows], None if noise is None else noise[rows]).tolist()
            found |= {(row, name): value for row, value in zip(rows, values, strict=True)}
        return [
            replace(route, p_values=tuple(found[row, name] for name, _ in route.nearest))
            for row, route in enumerate(routes)
        ]

    def never_unknown(self) -> list[str]:
        """Return the tasks to which no clip is unknown by their limit, since too few clips calibrated them."""
        each = ((name, self._limit(name), task) for name, task in self._tasks.items())
        return [name for name, limit, task in each if 0 < limit <= lowest_p(task.calibration)]

    def _limit(self, name: str) -> float:
        return self._tasks[name].alpha if self._alpha is None else self._alpha

    def _finite_scores(self, described: Tensor) -> Tensor:
        scores = self._scores(described)
        if not torch.isfinite(scores).all():
            raise NotFiniteError("the router gives values that are not numbers; rebuild it with `cl-ast route`")
        return scores

    def _judged(self, described: Tensor, chosen: Tensor) -> list[tuple[float, str]]:
        """Return the p-value of each described clip (n, d) under its task, and `Route.nearer`.

        Args:
            chosen: (n,) the index of each clip's task.
        """
        out = [(0.0, "")] * len(described)
        for index in sorted(set(chosen.tolist())):
            rows = (chosen == index).nonzero()[:, 0]
            task, sent = self._tasks[self._names[index]], described[rows]
            fits = task.fits(sent, noise_fits(self._noise, sent))
            values = p_values(task.calibration, fits.values).tolist()
            each = zip(rows.tolist(), values, fits.noise.tolist(), fits.negatives.tolist(), strict=True)
            for row, p_value, noisy, negative in each:
                out[row] = p_value, "negatives" if negative else "noise" if noisy else ""
        return out

    def _routes(self, described: Tensor, values: Tensor, order: Tensor, nearest: int, place: int) -> list[Route]:
        """Return each clip's route to its nearest task (place 0), its second nearest (place 1), and so on."""
        judged = self._judged(described, order[:, place])
        out = []
        for row_values, row, (p_value, nearer) in zip(values.tolist(), order.tolist(), judged, strict=True):
            near = tuple((self._names[i], _unit(v)) for i, v in zip(row[:nearest], row_values[:nearest], strict=True))
            name, score = self._names[row[place]], _unit(row_values[place])
            alpha = self._limit(name)
            known = p_value >= alpha
            out.append(Route(name, score, known, near, p_value, alpha=alpha, nearer="" if known else nearer))
        return out


def _unit(score: float) -> float:
    return min(1.0, max(0.0, score))
