"""Reads the results of `cl-ast compare` and `cl-ast reproduce`, and sums them up as the first does."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cl_ast.experiments.bootstrap import interval, resampled
from cl_ast.experiments.results import Row
from cl_ast.experiments.running import KEYS
from cl_ast.experiments.summary import Compared, ranked, right_by_fold
from cl_ast.reporting.recorded import checked, latest
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
        experiments: what trained them, "compare" or names of `cl-ast reproduce`, with "--quick" where that was given.
    """

    task: str
    backbone: str
    settings: str
    tested: str
    results: Sequence[Compared]
    failed: int
    experiments: Sequence[str]


def read_comparisons(folder: Path) -> list[Comparison]:
    """Return the comparisons in a folder that `cl-ast compare --out` or `cl-ast reproduce --out` has written.

    Trainings on clips that have changed since are left out.

    Raises:
        ClAstError: the results cannot be read, or have a value that cannot be one.
    """
    rows = latest(folder, KEYS)
    data = {(row["task"], row["fold"]): row["data"] for row in rows}
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row["data"] == data[row["task"], row["fold"]]:
            groups.setdefault((row["task"], row["backbone"], row["settings"]), []).append(row)
    with checked(folder):
        return [_comparison(*key, own) for key, own in groups.items()]


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
        list(dict.fromkeys(row["what"] for row in rows)),
    )


def _compared(rows: Sequence[Row]) -> Compared:
    for row in rows:
        _check_clips(row)
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
        interval=interval(resampled(right_by_fold(rows)), statistics.mean(columns["test"])),
    )


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < 2**63:  # False for NaN too
        raise ValueError(f"{text:.40} is no such number")
    return value


def _check_clips(row: Row) -> None:
    """Raise ValueError where the number of test clips of a training does not fit those that were right."""
    if not 0 < int(row["n"]) <= min(_MOST_CLIPS, 4 * len(row["correct"])):
        raise ValueError(f"{row['n']:.40} is not the number of its test clips")
