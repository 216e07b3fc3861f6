"""All tasks' routing side by side: which task a clip is sent to, and whether it fits there at all."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from cl_ast.errors import RegistryError
from cl_ast.router.calibration import ALPHA
from cl_ast.router.kinds import KINDS
from cl_ast.router.routing import TaskRouting


@dataclass(frozen=True, slots=True)
class Route:
    """Where a clip is sent.

    Attributes:
        task: the nearest.
        score: in [0, 1]; what the router chose by.
        known: whether the clip fits that task at all.
        nearest: (task, score), best first.
        p_value: how often a clip of that task fits it no better; it is known from `ALPHA` on.
    """

    task: str
    score: float
    known: bool
    nearest: tuple[tuple[str, float], ...]
    p_value: float = 1.0


class Router:
    """All tasks' routing, by name. The order in which tasks are given or were learned changes nothing."""

    def __init__(self, tasks: Mapping[str, TaskRouting]) -> None:
        """Raises RegistryError where they were not all learned for the same router."""
        self._tasks = {name: tasks[name] for name in sorted(tasks)}
        self._names = list(self._tasks)
        kinds = {task.kind for task in tasks.values()}
        if len(kinds) != 1:
            raise RegistryError(
                f"tasks are routed in different ways here ({', '.join(sorted(kinds))}); "
                "learn their routing anew with `cl-ast route`"
            )
        self._scores = KINDS[kinds.pop()].chooser([task.state for task in self._tasks.values()])

    def choose(self, described: Tensor, *, nearest: int = 5) -> list[Route]:
        """The nearest task of each described clip (n, d), and whether it fits. Equal scores: by name."""
        if not len(described):
            return []
        scores = self._scores(described)
        values, order = scores.sort(dim=1, descending=True, stable=True)
        p_values = self._p_values(described, order[:, 0])
        rows = zip(values[:, :nearest].tolist(), order[:, :nearest].tolist(), p_values, strict=True)
        return [self._route(*row) for row in rows]

    def fitting(self, described: Tensor) -> list[list[Route]]:
        """Every task that each described clip (n, d) is known to, the best first; none where it fits nowhere."""
        scores = self._scores(described).tolist()
        p_values = [task.p_values(described).tolist() for task in self._tasks.values()]
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
            out[rows] = self._tasks[self._names[index]].p_values(described[rows])
        return [round(value, 2) for value in out.tolist()]

    def _route(self, values: list[float], order: list[int], p_value: float) -> Route:
        near = tuple((self._names[index], _unit(value)) for index, value in zip(order, values, strict=True))
        return Route(*near[0], known=p_value >= ALPHA, nearest=near, p_value=p_value)


def _unit(score: float) -> float:
    return min(1.0, max(0.0, score))
