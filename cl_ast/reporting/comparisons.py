"""Reads the results that `cl-ast compare` has written, and sums them up as it does; no clips are needed for it."""

import csv
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cl_ast.errors import ClAstError
from cl_ast.experiments.bootstrap import Right, interval, resampled
from cl_ast.experiments.results import FILE, Row
from cl_ast.experiments.running import KEYS, VALUES, right_of
from cl_ast.experiments.summary import Compared, ranked
from cl_ast.sharing.public_facts import backbone_name
from streams.protocol import folds

_NUMBERS = ("parameters", "bytes", "validation", "test", "seconds")
_MOST_CLIPS = 10_000_000  # of one training; a larger number is none that was measured


@dataclass(frozen=True, slots=True)
class Comparison:
    """The methods that were trained on one task with the same options.

    Attributes:
        backbone: its name, or "local-backbone" where that is a folder.
        settings: every option that is not the default, in words.
        tested: which folds tested, in words that name no person; empty where the data have none.
        results: by the number of training clips, and then the most accurate first.
        failed: how many trainings failed.
    """

    task: str
    backbone: str
    settings: str
    tested: str
    results: Sequence[Compared]
    failed: int


def is_results(folder: Path) -> bool:
    """Return whether a folder has results of an experiment, and is no registry."""
    return (folder / FILE).is_file() and not (folder / "registry.db").exists()


def read_comparisons(folder: Path) -> list[Comparison]:
    """Return the comparisons in a folder that `cl-ast compare --out` has written.

    Trainings on clips that have changed since are left out.

    Raises:
        ClAstError: the results are of another command, cannot be read, or have a value that cannot be one.
    """
    rows = _latest(folder / FILE)
    data = {(row["task"], row["fold"]): row["data"] for row in rows}
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row["data"] == data[row["task"], row["fold"]]:
            groups.setdefault((row["task"], row["backbone"], row["settings"]), []).append(row)
    try:
        return [_comparison(*key, own) for key, own in groups.items()]
    except ValueError as error:
        raise ClAstError(f"{folder / FILE}: a line is not as it was written ({error}); mend or remove it") from None


def _latest(path: Path) -> list[Row]:
    """Return the last line of each training. A line that a killed run has not finished is left out."""
    found: dict[tuple[str, ...], Row] = {}
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            lines = csv.DictReader(file)
            if tuple(lines.fieldnames or ()) != (*KEYS, *VALUES):
                raise ClAstError(f"{path}: a report shows the results of `cl-ast compare`, and these are others")
            for line in lines:
                if None not in line and None not in line.values():
                    found[tuple(line[name] for name in KEYS)] = line
    except (OSError, csv.Error) as error:
        raise ClAstError(f"{path}: the results cannot be read ({error})") from None
    if not found:
        raise ClAstError(f"{path}: there is no finished training to report on")
    return list(found.values())


def _comparison(task: str, backbone: str, settings: str, rows: Sequence[Row]) -> Comparison:
    done: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if not row["reason"]:
            done.setdefault((row["method"], row["K"]), []).append(row)
    results = sorted(
        (_compared(own) for own in done.values()), key=lambda one: (one.few_shot or math.inf, -(one.accuracy or 0))
    )
    names = list(dict.fromkeys(row["fold"] for row in rows if row["fold"]))
    name = backbone_name(backbone.rpartition(" ")[0])  # without its fingerprint
    return Comparison(
        task,
        name,
        settings,
        folds(names, "test") if names else "",
        ranked(results),
        sum(bool(row["reason"]) for row in rows),
    )


def _compared(rows: Sequence[Row]) -> Compared:
    columns = {name: [_number(row[name]) for row in rows] for name in _NUMBERS}
    return Compared(
        task=rows[0]["task"],
        method=rows[0]["method"],
        family="",
        few_shot=int(rows[0]["K"]) if rows[0]["K"] else None,
        value=None,
        trainable_parameters=int(columns["parameters"][-1]),
        bytes=int(columns["bytes"][-1]),
        accuracies=tuple(columns["test"]),
        validation=statistics.mean(columns["validation"]),
        seconds=statistics.mean(columns["seconds"]),
        interval=interval(resampled(_right(rows))),
    )


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < 2**63:  # False for NaN too
        raise ValueError(f"{text:.40} is no such number")
    return value


def _right(rows: Iterable[Row]) -> list[Right]:
    """Return for every fold which clips were right: (trainings, clips)."""
    folds: dict[str, list[Right]] = {}
    for row in rows:
        if not 0 < int(row["n"]) <= min(_MOST_CLIPS, 4 * len(row["correct"])):
            raise ValueError(f"{row['n']:.40} is not the number of its test clips")
        folds.setdefault(row["fold"], []).append(right_of(row))
    return [np.stack(own) for own in folds.values()]
