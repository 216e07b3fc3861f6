"""Shows methods side by side: a table for each task, and one of the mean over the tasks."""

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType

from cl_ast.evaluation.intervals import Interval
from cl_ast.evaluation.shown_accuracy import counted
from cl_ast.experiments.summary import Average, Compared
from cl_ast.terminal.rendering.layout import Breakable, bare
from cl_ast.terminal.rendering.tables import percent

_NO_RANKS = "No two 95 % intervals are apart: these test clips do not rank the methods."


def tables(lines: Sequence[Compared], means: Sequence[Average]) -> list[RenderableType]:
    """Return what is shown of a comparison: a table for each task and, of several tasks, one of their mean."""
    names = list(dict.fromkeys(line.task for line in lines))
    shown: list[RenderableType] = []
    for name in names:
        own = [line for line in lines if line.task == name]
        shown += [f"{name}, {_tested(own)}"] if len(names) > 1 else []
        shown += [_task(own), *(f"{line.method}: {line.error}" for line in own if line.error)]
        if len(own) > 1 and all(line.rank is None for line in own):
            shown.append(_NO_RANKS)
    return shown + (["mean over the tasks", _averages(names, means)] if len(names) > 1 else [])


def csv_row(line: Compared) -> dict[str, Any]:
    """Return the row of one method on one task in the CSV of `cl-ast compare`."""
    row = {**line.to_json(), "accuracies": " ".join(map(str, line.accuracies)), "folds": " ".join(line.folds)}
    low, high = line.interval or (None, None)
    for name in ("training", "interval", "rank"):  # a row is printed before the others are there to rank it
        del row[name]
    return {**row, "low": low, "high": high}


def _task(lines: Sequence[Compared]) -> RenderableType:
    shots = any(line.few_shot is not None for line in lines)
    apart = any(line.rank is not None for line in lines)
    table = bare(
        "method",
        *(["K"] if shots else []),
        "parameters",
        "test %",
        "95 %",
        "valida-\ntion %",
        "seconds",
        *(["rank"] if apart else []),
    )
    for line in lines:
        table.add_row(
            Breakable(line.method),
            *([_number(line.few_shot)] if shots else []),
            f"{line.trainable_parameters:,}",
            counted(line.accuracy, line.clips)
            if line.deviation is None
            else f"{percent(line.accuracy)} ± {percent(line.deviation)}",
            interval_text(line.interval),
            percent(line.validation),
            "–" if line.seconds is None else f"{line.seconds:.1f}",
            *([_number(line.rank)] if apart else []),
        )
    return table


def _averages(names: Sequence[str], means: Sequence[Average]) -> RenderableType:
    shots = any(mean.few_shot is not None for mean in means)
    table = bare("method", *(["K"] if shots else []), "parameters", *(f"{name} %" for name in names), "Avg %", "95 %")
    for mean in means:
        fewest, most = mean.trainable_parameters
        table.add_row(
            Breakable(mean.method),
            *([_number(mean.few_shot)] if shots else []),
            count_text(fewest, most),
            *map(percent, mean.accuracies),
            percent(mean.accuracy),
            interval_text(mean.interval),
        )
    return table


def _tested(lines: Sequence[Compared]) -> str:
    """Return how many clips, and of which folds, a task was tested on."""
    clips, folds = max(line.clips for line in lines), lines[0].folds
    named = f" of the {len(folds)} folds {', '.join(folds)}" if len(folds) > 1 else ""
    return f"{clips:,} test clips{named}"


def interval_text(found: Interval | None) -> str:
    """Return an interval in percent; a dash for None."""
    return "–" if found is None else f"{100 * found[0]:.1f}–{100 * found[1]:.1f}"


def count_text(fewest: int, most: int) -> str:
    """Return a number, or the range of several."""
    return f"{fewest:,}" if fewest == most else f"{fewest:,}–{most:,}"


def _number(value: int | None) -> str:
    return "–" if value is None else str(value)
