"""Reads what joint training on a registry's tasks came to, from the results of `cl-ast baselines`."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cl_ast.baselines.comparison import BACKBONE_DIGITS, KEYS, TASK_DIGITS, VALUES, stream_name
from cl_ast.baselines.run import RUN
from cl_ast.errors import ClAstError
from cl_ast.experiments.results import FILE, Row
from cl_ast.reporting.recorded import checked, columns_in, latest, shares
from cl_ast.wording import plural, some_of
from registry import Overview

_MODES = {"til": "oracle", "cil": "auto"}  # Tasks of "dil" have the same classes, and an answer there names no task.
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Joint:
    """The accuracy of one adapter and one head that were trained on the clips of all tasks at once.

    Attributes:
        mean: the accuracy on test clips, the mean over the tasks and the runs.
        deviation: the standard deviation over the runs; None for one run.
        runs: how many there are.
        training: the adapter and the options of the training.
    """

    mean: float
    deviation: float | None
    runs: int
    training: str


def read_joint(folder: Path, overview: Overview) -> dict[str, Joint]:
    """Return joint training on the tasks of a registry, by the mode that it is to be compared with.

    That is "oracle" for the scenario "til", where the answer is a label of the clip's own task, and "auto" for "cil",
    where it is any label of any task. A scenario without a run is left out.

    Args:
        folder: what `cl-ast baselines --out` has written.

    Raises:
        ClAstError: the results are of another command, or cannot be read; or no run is of joint training on the
            registry's tasks, with the same clips in the same splits, over the same backbone; or runs differ in more
            than order and seed.
    """
    path = folder / FILE
    if columns_in(folder) != (*KEYS, *VALUES):
        raise ClAstError(
            f"{path}: joint training is in the results of `cl-ast baselines`, and these are others; name another folder"
        )
    rows = [row for row in latest(folder, KEYS) if _is_joint(row)]
    mine = [row for row in rows if _words(row) == _expected(overview)]
    if not mine:
        raise ClAstError(
            f"{path}: {_why_not(rows, overview)}; run `cl-ast baselines TASK… --methods joint --out DIR` on the "
            "registry's tasks, with the same splits, over its backbone"
        )
    with checked(folder):
        return {
            mode: _joint(path, [row for row in mine if row["scenario"] == scenario])
            for scenario, mode in _MODES.items()
            if any(row["scenario"] == scenario for row in mine)
        }


def _is_joint(row: Row) -> bool:
    name = row["method"].partition(":")[0]
    return (row["kind"], name, row["reason"]) == (RUN, "joint", "") and row["scenario"] in _MODES


def _words(row: Row) -> list[str]:
    """Return the words that are the same for the same backbone and the same tasks in whatever order."""
    return sorted([row["backbone"], *row["stream"].split()])


def _expected(overview: Overview) -> list[str]:
    """Return what `_words` is for joint training on the tasks of a registry."""
    prints = [task.version.data_fingerprint for task in overview.tasks]
    return sorted([_backbone(overview), *stream_name(plural(len(prints), "task"), prints).split()])


def _backbone(overview: Overview) -> str:
    return overview.backbone.fingerprint[:BACKBONE_DIGITS] if overview.backbone else ""


def _why_not(rows: Sequence[Row], overview: Overview) -> str:
    """Return what the runs of joint training lack."""
    if not rows:
        return "no run of joint training is finished"
    rows = [row for row in rows if row["backbone"] == _backbone(overview)]
    if not rows:
        return "joint training had another backbone than the registry"
    known = {word for row in rows for word in row["stream"].split()}
    others = [task.name for task in overview.tasks if task.version.data_fingerprint[:TASK_DIGITS] not in known]
    if others:
        return f"joint training had other clips than the registry, or another split, of {some_of(others, _MOST_NAMED)}"
    return f"joint training was not on exactly the {plural(len(overview.tasks), 'task')} of the registry"


def _joint(path: Path, rows: Sequence[Row]) -> Joint:
    """Return the mean of the runs of a scenario. Raises ValueError where an accuracy cannot be one."""
    ways = sorted({f"{row['method']} with {row['training']}" for row in rows})
    if len(ways) > 1:
        raise ClAstError(
            f"{path}: joint training was done in several ways, and one can be shown: {' and '.join(ways)}; name a "
            "folder with one of them"
        )
    values = shares([float(row["last_accuracy"]) for row in rows])
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Joint(statistics.mean(values), deviation, len(values), rows[0]["training"])
