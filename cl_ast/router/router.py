"""All tasks' routing side by side: which task a clip is sent to, and whether it fits there at all."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from cl_ast.errors import RegistryError
from cl_ast.router.calibration import ALPHA
from cl_ast.router.kinds import KINDS, State, noise_fits
from cl_ast.router.task_routing import TaskRouting


@dataclass(frozen=True, slots=True)
class Route:
    """Where a clip is sent.

    Attributes:
        task: the nearest.
        score: in [0, 1]; what the router chose by.
        known: whether the clip fits that task at all.
        nearest: (task, score), best first.
        p_value: how often a clip of that task fits it no better; it is known from `ALPHA` on.
        runner_up: the second nearest task, where it is nearly as near; the tie-break decides between the two.
    """

    task: str
    score: float
    known: bool
    nearest: tuple[tuple[str, float], ...]
    p_value: float = 1.0
    runner_up: "Route | None" = None


class Router:
    """All tasks' routing, by name. The order in which tasks are given or were learned changes nothing."""

    def __init__(self, tasks: Mapping[str, TaskRouting], noise: State | None = None) -> None:
        """
        Args:
            noise: `RouterSpace.noise`, which the tasks were calibrated with.

        Raises RegistryError where they were not all learned for the same router.
        """
        self._noise = noise
        self._tasks = {name: tasks[name] for name in sorted(tasks)}
        self._names = list(self._tasks)
        kinds = {task.kind for task in tasks.values()}
        if len(kinds) != 1:
            raise RegistryError(
                f"tasks are routed in different ways here ({', '.join(sorted(kinds))}); "
                "learn their routing anew with `cl-ast route`"
            )
        (kind,) = kinds
        self._margin = KINDS[kind].margin
        self._scores = KINDS[kind].chooser([task.state for task in self._tasks.values()])

    def choose(self, described: Tensor, *, nearest: int = 5) -> list[Route]:
        """The nearest task of each described clip (n, d), and whether it fits. Equal scores: by name."""
        if not len(described):
            return []
        scores = self._scores(described)
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
        """Every task that each described clip (n, d) is known to, the best first; none where it fits nowhere."""
        scores = self._scores(described).tolist()
        noise = noise_fits(self._noise, described)
        p_values = [task.p_values(described, noise).tolist() for task in self._tasks.values()]
        out = []
        for row, values in enumerate(scores):
            each = [(value, name, ps[row]) for value, name, ps in zip(values, self._names, p_values, strict=True)]
            each.sort(key=lambda one: (-one[0], one[1]))
            near = tuple((name, _unit(value)) for value, name, _ in each)
            out.append([Route(name, _unit(value), True, near, p) for value, name, p in each if p >= ALPHA])
        return out

    def _p_values(self, described: Tensor, chosen: Tensor) -> list[float]:
        """Of each clip under the task it was sent to; one pass a task that was chosen."""
        out = described.new_zeros(len(described))
        for index in sorted(set(chosen.tolist())):
            rows = chosen == index
            sent = described[rows]
            out[rows] = self._tasks[self._names[index]].p_values(sent, noise_fits(self._noise, sent))
        return [round(value, 2) for value in out.tolist()]

    def _routes(self, described: Tensor, values: Tensor, order: Tensor, nearest: int, place: int) -> list[Route]:
        """Each clip's route to the task in that place of its order."""
        p_values = self._p_values(described, order[:, place])
        out = []
        for row_values, row, p_value in zip(values.tolist(), order.tolist(), p_values, strict=True):
            near = tuple((self._names[i], _unit(v)) for i, v in zip(row[:nearest], row_values[:nearest], strict=True))
            name, score = self._names[row[place]], _unit(row_values[place])
            out.append(Route(name, score, p_value >= ALPHA, near, p_value))
        return out


def _unit(score: float) -> float:
    return min(1.0, max(0.0, score))
