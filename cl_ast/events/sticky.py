"""Routes one window in eight, and keeps its task for the seven after it as far as the task seems to fit them.

This is approximate, and saves what describing every window costs. A task seems to fit a window if the p-value of its
head's confidence, among that of the task's own clips, is at least the limit below which a clip is unknown. All other
windows are routed, and so are those after one that no task fits.
"""

from collections.abc import Sequence

from cl_ast.audio.windows import Segment
from cl_ast.events.grid import ScoredWindow
from cl_ast.events.scoring import WindowScorer
from cl_ast.router import Route, head_p_value

RUN = 8  # windows, of which the first is always routed


class StickyRouting:
    """Scores the windows of one stream in order; which of them are passed together changes no route."""

    def __init__(self, scorer: WindowScorer) -> None:
        self._scorer = scorer
        self._number = 0  # of the next window
        self._route: Route | None = None  # of the first window of its run

    def __call__(self, windows: Sequence[Segment]) -> list[ScoredWindow]:
        """Return the scores of the next windows. Raises NotFiniteError and CorruptRegistryError, as the scorer does."""
        found: dict[int, ScoredWindow] = {}
        firsts = range(-self._number % RUN, len(windows), RUN)
        routes = self._routed(windows, firsts, found)
        kept: dict[tuple[str, float], list[int]] = {}
        others = []
        for row in range(len(windows)):
            self._route = routes.get(row, self._route)
            if row in found:
                continue
            if self._route is not None and self._route.known:
                kept.setdefault((self._route.task, self._route.alpha), []).append(row)
            else:
                others.append(row)
        for (task, limit), rows in kept.items():
            others += self._under(task, limit, windows, rows, found)
        self._routed(windows, others, found)
        self._number += len(windows)
        return [found[row] for row in range(len(windows))]

    def _routed(
        self, windows: Sequence[Segment], rows: Sequence[int], found: dict[int, ScoredWindow]
    ) -> dict[int, Route]:
        """Route some of the windows, and return the route of each."""
        routed = self._scorer.routed([windows[row] for row in rows])
        found |= {row: window for row, (_, window) in zip(rows, routed, strict=True)}
        return {row: route for row, (route, _) in zip(rows, routed, strict=True)}

    def _under(
        self, task: str, limit: float, windows: Sequence[Segment], rows: Sequence[int], found: dict[int, ScoredWindow]
    ) -> list[int]:
        """Score some of the windows by the task that is kept, and return those that it seems not to fit."""
        assert self._scorer.router is not None
        others = []
        for row, (logits, window) in zip(rows, self._scorer.by_task([windows[row] for row in rows], task), strict=True):
            if not len(logits) or head_p_value(self._scorer.router, task, logits) < limit:  # left out, or no fit
                others.append(row)
            else:
                found[row] = window
        return others
