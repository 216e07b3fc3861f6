"""Repeats a table or figure of the papers as grids, one for each data set, and sets its numbers beside ours."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import streams
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import StreamError
from cl_ast.evaluation.intervals import Interval
from cl_ast.experiments.grid import Grid, Sweep, Tasks, Variant, by_fold
from cl_ast.experiments.papers import FOLDS, OPTIONS, POSITIONS, Published, Row
from cl_ast.experiments.running import GridResults, run
from cl_ast.experiments.summary import Compared, compared, ranked
from cl_ast.progress import Progress, silent
from cl_ast.training.engine import Engine
from cl_ast.training.recipes import recipe_for

QUICK_SHOTS = 2
"""The training clips per class of a quick run, which has one epoch and one fold."""


@dataclass(frozen=True, slots=True)
class Beside:
    """One number of a paper, and ours beside it.

    Attributes:
        row, data_set, few_shot: where it is in the table; the data set is None for the mean over all of them.
        method: what was trained here; None for the mean.
        printed_parameters: as the paper prints them.
        parameters: trained here, over our backbone; None for the mean, or where nothing was trained.
        paper, ours: accuracies as fractions; None where there is none.
        reason: why there is none of ours, or empty.
    """

    row: str
    data_set: str | None
    few_shot: int | None
    method: str | None
    printed_parameters: str
    parameters: int | None
    paper: float | None
    ours: float | None
    interval: Interval | None
    reason: str

    @property
    def difference(self) -> float | None:
        """Ours less the paper's."""
        return None if self.paper is None or self.ours is None else self.ours - self.paper

    def to_json(self, experiment: str) -> dict[str, Any]:
        """Return the object that `cl-ast reproduce --format json` prints."""
        low, high = self.interval or (None, None)
        return {
            "experiment": experiment,
            "row": self.row,
            "data_set": self.data_set,
            "few_shot": self.few_shot,
            "method": self.method,
            "printed_parameters": self.printed_parameters,
            "parameters": self.parameters,
            "paper": self.paper,
            "ours": self.ours,
            "difference": self.difference,
            "low": low,
            "high": high,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Data:
    """The data sets of an experiment.

    Attributes:
        tasks: those that are there, each with its folds.
        missing: why each of the others is not, by its name.
        notes: sentences about what is there but is not as in the paper.
    """

    tasks: Tasks
    missing: Mapping[str, str]
    notes: tuple[str, ...]


def find(published: Published, root: Path | None, *, quick: bool = False, download: bool = False) -> Data:
    """Load the data sets of an experiment, as far as they are there.

    Args:
        root: the folder that holds them. In a quick run it may be a folder of labelled clips, which then takes the
            place of every data set that is missing.
        download: whether to download those that are free.
    """
    tasks: dict[str, Mapping[str, streams.Task]] = {}
    missing: dict[str, str] = {}
    notes: list[str] = []
    for name in published.data_sets:
        try:
            task = streams.load(name, data_root=root, download=download)
        except StreamError as error:
            stand_in = _stand_in(name, root) if quick else None
            if stand_in is None:
                missing[name] = str(error)
                continue
            notes.append(f"{name}: the clips in {root} take its place")
            task = stand_in
        tasks[name] = by_fold(task, None if quick else "all")
        if not quick and len(tasks[name]) < FOLDS.get(name, 1):
            notes.append(f"{name}: only {len(tasks[name])} of {FOLDS[name]} folds are there: {', '.join(tasks[name])}")
    return Data(tasks, missing, tuple(notes))


def grid_of(published: Published, data_set: str, data: Data, backbone: Backbone, *, quick: bool = False) -> Grid:
    """Return the trainings on one data set, with the options of the papers' code."""
    folds = data.tasks[data_set]
    recipe = recipe_for(next(iter(folds.values())).source.task, backbone)
    values = tuple(row.value for row in published.rows if row.value is not None)
    return Grid(
        tasks={data_set: folds},
        variants=[
            Variant(*_variant_of(published, row), {data_set: recipe.spec(row.on(data_set))}) for row in published.rows
        ],
        few_shot=list(dict.fromkeys(_shots(count, quick) for name, count in published.columns if name == data_set)),
        first_clips=True,  # as the papers' code takes them
        options=replace(OPTIONS, epochs=1) if quick else OPTIONS,
        # A backbone that takes samples has no position embeddings that the papers' code could lose.
        positions=POSITIONS if backbone.front_end(1.0).spectrogram else "resize",
        sweep=None if published.sweep is None else Sweep(published.sweep, values),
    )


def reproduce(
    published: Published,
    data: Data,
    backbone: Backbone,
    folder: Path,
    *,
    quick: bool = False,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
    engine: Engine | None = None,
    device: str = "auto",
) -> Iterator[tuple[Grid, list[Compared]]]:
    """Train what is not yet in the folder's results, and yield the grid of each data set with its lines.

    Raises:
        MethodError: a method does not fit the backbone.
        ClAstError: a result cannot be written.
    """
    what = f"{published.name} --quick" if quick else published.name
    for name in data.tasks:
        grid = grid_of(published, name, data, backbone, quick=quick)
        with GridResults(folder, grid, backbone, what) as results:
            for _ in run(results, progress=progress, say=say, engine=engine, device=device):
                pass
            yield grid, ranked([compared(results, line) for line in grid.lines()])


def beside(
    published: Published, data: Data, found: Sequence[tuple[Grid, Sequence[Compared]]], *, quick: bool = False
) -> list[Beside]:
    """Return every number of the experiment with ours beside it, and the means over the data sets.

    Args:
        found: what `reproduce` yielded.
    """
    lines = {
        (place.task, place.few_shot, place.variant.word, place.variant.value): line
        for grid, own in found
        for place, line in zip(grid.lines(), own, strict=True)
    }
    numbers: list[Beside] = []
    for row in published.rows:
        own = [
            _beside(
                row,
                number,
                column,
                lines.get((column[0], _shots(column[1], quick), *_variant_of(published, row))),
                data,
            )
            for number, column in enumerate(published.columns)
        ]
        numbers += own
        if row.average is not None:
            numbers.append(_average(row, row.average, own))
    return numbers


def _beside(row: Row, number: int, column: tuple[str, int | None], line: Compared | None, data: Data) -> Beside:
    data_set, few_shot = column
    return Beside(
        row=row.name,
        data_set=data_set,
        few_shot=few_shot,
        method=row.on(data_set) if line is None else line.method,
        printed_parameters=row.parameters,
        parameters=None if line is None else line.trainable_parameters,
        paper=_fraction(row.printed[number]) if row.printed else None,
        ours=None if line is None else line.accuracy,
        interval=None if line is None else line.interval,
        reason=data.missing.get(data_set, "") if line is None else line.error,
    )


def _average(row: Row, printed: float, own: Sequence[Beside]) -> Beside:
    """Return the mean of a row; there is none of ours unless every data set is there."""
    ours = [one.ours for one in own if one.ours is not None]
    whole = len(ours) == len(own)
    return Beside(
        row=row.name,
        data_set=None,
        few_shot=None,
        method=None,
        printed_parameters=row.parameters,
        parameters=None,
        paper=_fraction(printed),
        ours=statistics.mean(ours) if whole else None,
        interval=None,
        reason="" if whole else "not every data set has a number",
    )


def _fraction(percent: float) -> float:
    return round(percent / 100, 6)


def _variant_of(published: Published, row: Row) -> tuple[str, float | None]:
    """Return what a row is called in a grid, and its value; the rows of a sweep share the name of their curve."""
    return (row.name, None) if published.sweep is None else (row.name.rpartition(", ")[0], row.value)


def _stand_in(name: str, root: Path | None) -> streams.Task | None:
    if root is None:
        return None
    try:
        return streams.load(root.resolve(), name=name)
    except StreamError:
        return None


def _shots(count: int | None, quick: bool) -> int | None:
    if not quick:
        return count
    return min(count or QUICK_SHOTS, QUICK_SHOTS)
