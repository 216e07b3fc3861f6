"""The scores of a recording as a browser needs them, which cuts events out of them itself at any threshold."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from cl_ast.audio.reading import SAMPLE_RATE
from cl_ast.events.grid import SmoothGrid
from cl_ast.serving.kept import Scored

_LEAST = 0.05  # lower scores are left out, unless they lie in a gap that may be bridged
_DIGITS = 4


def scores_json(scored: Scored) -> dict[str, Any]:
    """Return the grid of a recording after the median, and all that follows from the settings in cells of it.

    A class has runs: the number of the first cell, and the scores from there on. What is between two runs is below
    `least`, and so is no part of an event that begins and ends at higher scores.
    """
    settings, gap = scored.settings, scored.settings.gap_cells(scored.step)
    grid = SmoothGrid(settings, scored.step, scored.hop)
    cells = [*chain.from_iterable(map(grid.add, scored.windows)), *grid.finish(scored.samples)]
    table = np.zeros((len(cells), len(grid.keys)), np.float32)
    for row, cell in zip(table, cells, strict=True):
        row[: len(cell.scores)] = cell.scores
    classes = []
    for place, (task, label) in enumerate(grid.keys):
        on = settings.threshold_of((task, label)).on
        runs = [[first, _rounded(table[first:stop, place])] for first, stop in _runs(table[:, place] >= _LEAST, gap)]
        classes.append({"task": task, "label": label, "on": on, "runs": runs})
    unknown = np.array([cell.is_unknown for cell in cells], dtype=bool)
    return {
        "task": settings.task,
        "window": settings.window,
        "hop": scored.hop / SAMPLE_RATE,
        "notes": list(scored.notes),
        "step": scored.step / SAMPLE_RATE,
        "seconds": scored.samples / SAMPLE_RATE,
        "gap": gap,
        "min_duration": settings.min_duration,
        "least": _LEAST,
        "classes": classes,
        "unknown": list(_runs(unknown, 0)),
    }


def _runs(true: npt.NDArray[np.bool_], around: int) -> Iterator[tuple[int, int]]:
    """Yield where values are true, each from the first to the one after the last, with so many around them."""
    places = np.flatnonzero(true)
    if not len(places):
        return
    for part in np.split(places, np.flatnonzero(np.diff(places) > 2 * around + 1) + 1):
        yield max(0, int(part[0]) - around), min(len(true), int(part[-1]) + 1 + around)


def _rounded(scores: npt.NDArray[np.float32]) -> list[float]:
    return [round(one, _DIGITS) for one in scores.tolist()]
