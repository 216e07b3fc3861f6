"""Sums the cells of a grid up: a line for each method on each task, and the mean over the tasks."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_ast.evaluation.intervals import Interval
from cl_ast.experiments.bootstrap import Right, interval, ranks, resampled
from cl_ast.experiments.cells import training_of
from cl_ast.experiments.grid import Line, Variant
from cl_ast.experiments.results import Row
from cl_ast.experiments.running import GridResults, right_of


@dataclass(frozen=True, slots=True)
class Compared:
    """The result of one method on one task.

    Attributes:
        few_shot: training clips per class; None for all.
        value: of the swept option; None without a sweep.
        bytes: the size of the task's file, without its header.
        accuracies: on test clips: fold by fold, one a seed.
        validation: the mean of the best epochs' accuracy on validation clips.
        seconds: the mean time of training, without the reading of clips.
        interval: the 95 % interval of the accuracy, by bootstrap over the test clips.
        rank: one more than how many methods are better beyond their intervals; None where no two methods are apart.
        clips: how many different test clips there were.
        folds: those that tested; none where the data have none, or none was named.
        error: why cells could not be trained, or empty.
        training: the options of every training but the seed.
    """

    task: str
    method: str
    family: str
    few_shot: int | None
    value: float | None
    trainable_parameters: int
    bytes: int
    accuracies: tuple[float, ...]
    validation: float | None
    seconds: float | None
    interval: Interval | None = None
    rank: int | None = None
    clips: int = 0
    folds: tuple[str, ...] = ()
    error: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def accuracy(self) -> float | None:
        """The mean over folds and seeds."""
        return statistics.mean(self.accuracies) if self.accuracies else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation over folds and seeds (of a sample), from two trainings on."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def to_json(self) -> dict[str, Any]:
        """Return the object that `cl-ast compare --format json` prints."""
        return {**asdict(self), "accuracy": self.accuracy, "spread": self.deviation}


@dataclass(frozen=True, slots=True)
class Average:
    """A method over all tasks of a grid.

    Attributes:
        method: in full where it is the same on all tasks, else as it was named.
        trainable_parameters: the fewest and the most; they differ where the head counts.
        accuracies: the mean of each task; None where it could not be trained.
        accuracy: the mean of these, as papers have it in "Avg"; None unless all are there.
        interval: its 95 % interval.
    """

    method: str
    few_shot: int | None
    trainable_parameters: tuple[int, int]
    accuracies: tuple[float | None, ...]
    accuracy: float | None
    interval: Interval | None


def compared(results: GridResults, line: Line) -> Compared:
    """Return the line of a table; its rank is known when all others are there (`ranked`)."""
    grid = results.grid
    spec = line.variant.specs[line.task]
    price = results.price(line.task, spec)
    rows = [row for cell in grid.cells_of(line) if (row := results.found(cell)) is not None]
    done = [row for row in rows if not row["reason"]]
    right, accuracies = right_by_fold(done), tuple(float(row["test"]) for row in done)
    return Compared(
        task=line.task,
        method=spec.text,
        family=spec.family,
        few_shot=line.few_shot,
        value=line.variant.value,
        trainable_parameters=price.trainable_parameters,
        bytes=price.bytes,
        accuracies=accuracies,
        validation=_mean(done, "validation"),
        seconds=_mean(done, "seconds"),
        interval=interval(resampled(right), statistics.mean(accuracies)) if right else None,
        clips=sum(one.shape[1] for one in right),
        folds=tuple(name for name in grid.tasks[line.task] if name),
        error="; ".join(dict.fromkeys(row["reason"] for row in rows if row["reason"])),
        training=training_of(grid, line, results.backbone),
    )


def ranked(lines: Sequence[Compared]) -> list[Compared]:
    """Return the lines with the rank of each among those of the same task and the same number of training clips."""
    found = list(lines)
    for place in dict.fromkeys((line.task, line.few_shot) for line in lines):
        here = [n for n, one in enumerate(lines) if (one.task, one.few_shot) == place and one.interval is not None]
        for n, rank in zip(here, ranks([i for n in here if (i := lines[n].interval) is not None]), strict=True):
            found[n] = replace(found[n], rank=rank)
    return found


def averages(results: GridResults, lines: Sequence[Compared]) -> list[Average]:
    """Return the mean over the tasks, for each method and number of training clips.

    Args:
        lines: of all lines of the grid, in its order.
    """
    grid = results.grid
    by_place = dict(zip([_place(line) for line in grid.lines()], lines, strict=True))
    found = []
    for variant in grid.variants:
        for few_shot in grid.few_shot:
            own = [by_place[_place(Line(task, variant, few_shot))] for task in grid.tasks]
            found.append(_average(results, variant, few_shot, own))
    return found


def _place(line: Line) -> tuple[str, str, float | None, int | None]:
    return line.task, line.variant.word, line.variant.value, line.few_shot


def _average(results: GridResults, variant: Variant, few_shot: int | None, own: Sequence[Compared]) -> Average:
    accuracies = tuple(one.accuracy for one in own)
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    texts = {one.method for one in own}
    sizes = [one.trainable_parameters for one in own]
    mean = statistics.mean(known) if len(known) == len(own) else None
    return Average(
        method=texts.pop() if len(texts) == 1 else _named(variant, results),
        few_shot=few_shot,
        trainable_parameters=(min(sizes), max(sizes)),
        accuracies=accuracies,
        accuracy=mean,
        interval=None if mean is None else interval(_resampled_average(results, variant, few_shot), mean),
    )


def _resampled_average(results: GridResults, variant: Variant, few_shot: int | None) -> NDArray[np.float64]:
    """Return resampled means over the tasks, whose test clips are drawn independently."""
    drawn = []
    for number, task in enumerate(results.grid.tasks):
        cells = results.grid.cells_of(Line(task, variant, few_shot))
        rows = [row for cell in cells if (row := results.found(cell)) is not None and not row["reason"]]
        drawn.append(resampled(right_by_fold(rows), seed=number))
    mean: NDArray[np.float64] = np.mean(drawn, axis=0)
    return mean


def _named(variant: Variant, results: GridResults) -> str:
    if variant.value is None or results.grid.sweep is None:
        return variant.word
    return f"{variant.word} {results.grid.sweep.option}={variant.value:g}"


def right_by_fold(rows: Sequence[Row]) -> list[Right]:
    """Return for every fold which clips were right: (seeds, clips)."""
    folds: dict[str, list[Right]] = {}
    for row in rows:
        folds.setdefault(row["fold"], []).append(right_of(row))
    return [np.stack(cells) for cells in folds.values()]


def _mean(rows: Sequence[Row], column: str) -> float | None:
    return statistics.mean(float(row[column]) for row in rows) if rows else None
