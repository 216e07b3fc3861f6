"""The grid: scores of windows become scores of equal steps in time, each the mean of the windows that cover it."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from cl_ast.events.event import EventSettings, Key

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TaskScores:
    """The scores of one task for one window.

    Attributes:
        scores: (steps, labels) probabilities: one row for the whole window, or one for each step in time of it.
        step: how many samples lie from one row to the next.
    """

    task: str
    labels: Sequence[str]
    scores: Scores
    step: int


@dataclass(frozen=True, slots=True)
class ScoredWindow:
    """A window of a recording, from sample `first` up to but not including `stop`, and how it was classified.

    Attributes:
        tasks: the scores of the tasks that answered; none where the router says that no task fits.
        nearest: where no task fits, the name of the nearest one.
    """

    first: int
    stop: int
    tasks: Sequence[TaskScores]
    nearest: str | None = None


@dataclass(slots=True)
class Cell:
    """One step of the grid.

    Attributes:
        scores: (classes,) the sum over the windows that cover it, and when the cell is taken from the grid, the mean.
        windows: how many windows cover it.
        begun: how many of them cover no earlier cell.
        unknown: how many of them no task fits.
    """

    scores: Scores
    windows: int = 0
    begun: int = 0
    unknown: int = 0

    @property
    def is_unknown(self) -> bool:
        """Whether no task fits most of the windows that cover it."""
        return 2 * self.unknown > self.windows


class Grid:
    """Takes windows in the order of their begins, and gives cells as soon as no later window covers them.

    A window covers a cell if it covers the middle of it. A class has a score of 0 in a window that was sent to another
    task, or that no task fits.

    Attributes:
        step: how many samples a cell is long.
        keys: the classes that the grid knows so far, in the order of a cell's scores.
    """

    def __init__(self, step: int) -> None:
        self.step = step
        self.keys: list[Key] = []
        self._places: dict[Key, int] = {}
        self._cells: deque[Cell] = deque()
        self._first = 0  # the number of the first cell that was not given yet

    def add(self, window: ScoredWindow) -> None:
        """Add a window, which begins no earlier than those before it."""
        columns = [self._columns(one) for one in window.tasks]
        first, stop = self._cell_at(window.first), self._cell_at(window.stop)
        self._grow(stop)
        for number in range(max(first, self._first), stop):
            cell = self._cells[number - self._first]
            cell.windows += 1
            cell.begun += number == first
            cell.unknown += not window.tasks
            middle = number * self.step + self.step // 2 - window.first
            for one, places in zip(window.tasks, columns, strict=True):
                cell.scores[places] += one.scores[min(middle // one.step, len(one.scores) - 1)]

    def before(self, sample: int) -> Iterator[Cell]:
        """Yield and forget the cells that no window covers which begins at this sample or later."""
        stop = self._cell_at(sample)
        self._grow(stop)
        while self._first < stop:
            cell = self._cells.popleft()
            self._first += 1
            if cell.windows:
                cell.scores /= cell.windows
            yield cell

    def _cell_at(self, sample: int) -> int:
        """Return the number of the first cell whose middle is at this sample or later."""
        return -((self.step // 2 - sample) // self.step)

    def _grow(self, stop: int) -> None:
        while self._first + len(self._cells) < stop:
            self._cells.append(Cell(np.zeros(len(self.keys))))

    def _columns(self, one: TaskScores) -> list[int]:
        """Return the places of a task's classes; those that are new get places in all cells."""
        found = [self._places.setdefault((one.task, label), len(self._places)) for label in one.labels]
        new = list(self._places)[len(self.keys) :]
        if new:
            self.keys += new
            for cell in self._cells:
                cell.scores = np.pad(cell.scores, (0, len(new)))
        return found


class RunningMedian:
    """Filters cells by the median over an odd number of them; at the ends of a recording, over those that are there."""

    def __init__(self, cells: int) -> None:
        self._half = cells // 2
        self._near: deque[Scores] = deque(maxlen=2 * self._half + 1)
        self._waiting: deque[Cell] = deque()

    def add(self, cell: Cell) -> Iterator[Cell]:
        """Take the next cell, and yield the one whose median is known now."""
        self._near.append(cell.scores)
        self._waiting.append(cell)
        if len(self._waiting) > self._half:
            yield self._filtered(self._near)

    def finish(self) -> Iterator[Cell]:
        """Yield the cells that are left at the end of the recording."""
        while self._waiting:
            yield self._filtered(list(self._near)[-len(self._waiting) - self._half :])

    def _filtered(self, near: Sequence[Scores] | deque[Scores]) -> Cell:
        cell = self._waiting.popleft()
        if self._half:
            most = max(map(len, near))
            rows = [np.pad(one, (0, most - len(one))) if len(one) < most else one for one in near]
            cell.scores = np.median(rows, axis=0)
        return cell


class SmoothGrid:
    """Takes the windows of a recording in order, and gives the cells of its grid after the median over them.

    With "sebb" there is no median: a step filter smooths the scores later.
    """

    def __init__(self, settings: EventSettings, step: int, hop: int) -> None:
        """
        Args:
            step: of the grid, in samples.
            hop: from the begin of one window to the next, in samples.
        """
        self._grid = Grid(step)
        self._hop = hop
        self._median = RunningMedian(1 if settings.method == "sebb" else settings.median_cells(step) | 1)

    @property
    def keys(self) -> Sequence[Key]:
        """The classes that are known so far, in the order of a cell's scores."""
        return self._grid.keys

    def add(self, window: ScoredWindow) -> Iterator[Cell]:
        """Take the next window, and yield the cells that are ready."""
        self._grid.add(window)
        return self._before(window.first + self._hop)

    def finish(self, samples: int) -> Iterator[Cell]:
        """End the recording, which is this long, and yield the cells that are left."""
        return chain(self._before(samples), self._median.finish())

    def _before(self, sample: int) -> Iterator[Cell]:
        return chain.from_iterable(map(self._median.add, self._grid.before(sample)))
