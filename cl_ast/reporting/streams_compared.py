"""Reads the results of `cl-ast baselines`, and sums them up as it does."""

import json
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_ast.baselines.comparison import AVERAGED, KEYS, TASK_DIGITS, VALUES, succeeded, summary
from cl_ast.baselines.run import RUN, cells_in
from cl_ast.errors import ClAstError
from cl_ast.evaluation.metrics import Cells, average_accuracy, forgetting
from cl_ast.experiments.results import FILE, Row
from cl_ast.reporting.recorded import checked, latest, shares

_KEY = ("stream", "scenario", "backbone", "training")
_MOST_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Curve:
    """A way to learn over the steps of a stream, the mean over its runs.

    Attributes:
        accuracies: the average accuracy after each step.
        forgetting: after each step from the second on.
    """

    method: str
    answer: str
    accuracies: Sequence[float]
    forgetting: Sequence[float]


@dataclass(frozen=True, slots=True)
class StreamComparison:
    """Ways to learn one stream with the same backbone, adapter and options.

    Attributes:
        stream: what it is, in a few words.
        scenario: "til", "cil" or "dil".
        backbone: the start of its fingerprint.
        training: the adapter and the options that all have in common.
        steps, orders, seeds: how many there are.
        versions: the packages of the last run.
        lines: what `cl-ast baselines --format json` says of each method.
        curves: of each method that has a run.
        chance: what guessing gives after each step, the mean over the runs.
        failed: how many runs failed.
    """

    stream: str
    scenario: str
    backbone: str
    training: str
    steps: int
    orders: int
    seeds: int
    versions: str
    lines: Sequence[Mapping[str, Any]]
    curves: Sequence[Curve]
    chance: Sequence[float]
    failed: int


def read_streams(folder: Path) -> list[StreamComparison]:
    """Return the comparisons in a folder that `cl-ast baselines --out` has written.

    Raises:
        ClAstError: the results cannot be read, have a value that cannot be one, or are of trials only.
    """
    jobs: dict[tuple[str, ...], list[Row]] = {}
    for row in latest(folder, KEYS):
        if row["kind"] == RUN:
            jobs.setdefault(tuple(row[name] for name in KEYS if name != "answer"), []).append(row)
    groups: dict[tuple[str, ...], list[Row]] = {}
    for job in jobs.values():
        groups.setdefault(tuple(job[0][name] for name in _KEY), []).extend(succeeded(job))
    if not groups:
        raise ClAstError(f"{folder / FILE}: only trials are finished; run the same `cl-ast baselines` to its end")
    with checked(folder):
        return [_comparison(rows) for rows in groups.values()]


def _comparison(rows: Sequence[Row]) -> StreamComparison:
    chances = [shares(json.loads(row["chance"])) for row in rows]
    steps = len(chances[0])
    if not 0 < steps <= _MOST_STEPS or any(len(one) != steps for one in chances):
        raise ValueError("the runs of a stream have not the same steps")
    done = [row for row in rows if not row["reason"]]
    for row in done:
        _check(row, steps)
    methods = dict.fromkeys((row["method"], row["answer"]) for row in done)
    return StreamComparison(
        re.sub(rf"( [0-9a-f]{{{TASK_DIGITS}}})+$", "", rows[0]["stream"]),  # without the fingerprints of its tasks
        rows[0]["scenario"],
        rows[0]["backbone"],
        rows[0]["training"],
        steps,
        len({row["order"] for row in rows}),
        len({row["seed"] for row in rows}),
        rows[-1]["versions"],
        summary(rows, steps),
        [_curve(*one, [row for row in done if (row["method"], row["answer"]) == one], steps) for one in methods],
        [statistics.mean(column) for column in zip(*chances, strict=True)],
        len(rows) - len(done),
    )


def _check(row: Row, steps: int) -> None:
    """Raise ValueError or TypeError where the numbers of a run cannot be what was measured."""
    matrix = json.loads(row["accuracies"])
    if [len(shares(line)) for line in matrix] != list(range(1, steps + 1)):
        raise ValueError(f"{row['accuracies']:.40} is not the accuracy after each of {steps} steps")
    for name in AVERAGED:
        if name in VALUES and row[name] and not abs(float(row[name])) < 2**63:  # False for NaN too
            raise ValueError(f"{row[name]:.40} is no such number")


def _curve(method: str, answer: str, rows: Sequence[Row], steps: int) -> Curve:
    cells = [cells_in(row["accuracies"]) for row in rows]

    def mean(metric: Callable[[Cells, int], float | None], count: int) -> float:
        return statistics.mean(value for own in cells if (value := metric(own, count)) is not None)

    return Curve(
        method,
        answer,
        [mean(average_accuracy, count) for count in range(1, steps + 1)],
        [mean(forgetting, count) for count in range(2, steps + 1)],
    )
