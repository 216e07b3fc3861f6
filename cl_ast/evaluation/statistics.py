"""Computes the report of `cl-ast stats` from the registry alone, without torch, model or audio."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cl_ast.evaluation import metrics
from cl_ast.evaluation.shown_accuracy import clip_count
from cl_ast.tasks.kind_names import is_tags, metric_of
from cl_ast.wording import some_of
from registry import Mode, Overview, Registry, TaskRecord

_MOST_NAMES = 5  # in a sentence
MOST_SQUARE = 40  # the most tasks for which a person can read a table of tasks by tasks


def stats(registry: Registry) -> dict[str, Any]:
    """Return the whole report, with the keys that `cl-ast stats --format json` promises."""
    return report(registry.overview())


def report(overview: Overview) -> dict[str, Any]:
    """Return the whole report for an overview that was already read from the registry."""
    count = len(overview.tasks)
    found, accuracies = outline(overview), _accuracies(overview)
    found["matrix"] = {mode: _table(cells.get, count, None) for mode, cells in accuracies.items()}
    found["routing"]["confusion"] = _table(_routed(overview).get, count, 0)
    return found


def outline(overview: Overview) -> dict[str, Any]:
    """Return the report with its three tables of tasks by tasks left empty, since these are too large to print."""
    backbone, tasks, storage = overview.backbone, overview.tasks, overview.storage
    accuracies = _accuracies(overview)
    tagged = [is_tags(task.version) for task in tasks]
    full = len(tasks) * (backbone.bytes if backbone else 0)
    shared = _shared_parts(overview)
    # What several tasks read is there once, and counts once.
    used = storage.adapter_bytes + sum(part["bytes"] for part in shared if part["read_by"])
    return {
        "backbone": None
        if backbone is None
        else {
            "name": backbone.name,
            "fingerprint": backbone.fingerprint,
            "parameters": backbone.parameters,
            "bytes": backbone.bytes,
        },
        "tasks": [_task(task, i, len(tasks) - 1, accuracies) for i, task in enumerate(tasks)],
        "matrix": {mode: [] for mode in accuracies},
        "metrics": {mode: _metrics(_of(cells, tagged, False), len(tasks)) for mode, cells in accuracies.items()},
        **(_tag_metrics(accuracies, tagged) if any(tagged) else {}),
        "routing": {"task_accuracy": _task_accuracy(_routed(overview)), "confusion": [], **_reason(overview)},
        "storage": {
            "adapter_bytes": storage.adapter_bytes,
            "full_copies_bytes": full,
            "ratio": full / used if storage.adapter_bytes else None,
            "database_bytes": storage.database_bytes,
        },
        **({"shared_parts": shared} if shared else {}),
    }


def _shared_parts(overview: Overview) -> list[dict[str, Any]]:
    """Return the shared parts, each with the tasks that read it."""
    return [
        {
            "name": part.name,
            "method": part.method,
            "bytes": part.bytes,
            "trained_on": list(part.tasks),
            "read_by": [task.name for task in overview.tasks if task.version.shared == part.sha256],
        }
        for part in overview.shared_parts
    ]


def _accuracies(overview: Overview) -> Mapping[Mode, metrics.Cells]:
    """Return the accuracies by mode, without routed ones in the last row that do not hold any more."""
    if overview.outdated is None:
        return overview.accuracies
    gone = {(len(overview.tasks) - 1, row) for row in overview.outdated.rows}
    auto = {cell: value for cell, value in overview.accuracies["auto"].items() if cell not in gone}
    return {**overview.accuracies, "auto": auto}


def _routed(overview: Overview) -> Mapping[tuple[int, int], int]:
    """Return the table of routed clips, without rows that do not hold any more."""
    if overview.outdated is None:
        return overview.routed
    return {(i, j): clips for (i, j), clips in overview.routed.items() if i not in overview.outdated.rows}


def _reason(overview: Overview) -> dict[str, str]:
    """Return why the routing of some tasks is left out; nothing where none is."""
    if overview.outdated is None:
        return {}
    names = [overview.tasks[row].name for row in sorted(overview.outdated.rows)]
    return {"reason": f"{some_of(names, _MOST_NAMES)}: not measured since {overview.outdated.since}"}


def _task(task: TaskRecord, i: int, last: int, accuracies: Mapping[Mode, metrics.Cells]) -> dict[str, Any]:
    version = task.version
    return {
        "name": task.name,
        "method": version.method,
        "version": version.number,
        "classes": version.classes,
        "trainable_parameters": version.trainable_parameters,
        "bytes": version.adapter_bytes,
        "learned_accuracy": version.learned_accuracy,
        "accuracy": accuracies["oracle"].get((last, i)),
        "auto_accuracy": accuracies["auto"].get((last, i)),
        "seconds": version.seconds,
        "test_clips": clip_count(version.training, "test"),
        "metric": metric_of(version),
    }


def _metrics(cells: metrics.Cells, tasks: int) -> dict[str, float | None]:
    return {
        "average_accuracy": metrics.average_accuracy(cells, tasks),
        "forgetting": metrics.forgetting(cells, tasks),
        "backward_transfer": metrics.backward_transfer(cells, tasks),
        # It is not defined here: a task has no head before it is learned, and none starts from another task's.
        "forward_transfer": None,
    }


def _tag_metrics(accuracies: Mapping[Mode, metrics.Cells], tagged: Sequence[bool]) -> dict[str, Any]:
    """Return the metrics of tasks of tags, which are of another measure and never averaged with accuracies."""
    found = {}
    for mode, cells in accuracies.items():
        own = _metrics(_of(cells, tagged, True), len(tagged))
        found[mode] = {"average_mAP": own.pop("average_accuracy"), **own}
    return {"tag_metrics": found}


def _of(cells: metrics.Cells, tagged: Sequence[bool], wanted: bool) -> metrics.Cells:
    """Return the columns of tasks of tags, or of the other tasks."""
    return {(i, j): value for (i, j), value in cells.items() if tagged[j] == wanted}


def _task_accuracy(routed: Mapping[tuple[int, int], int]) -> float | None:
    """Return the share of test clips that were sent to their own task, over all tasks measured."""
    clips = sum(routed.values())
    return sum(count for (i, j), count in routed.items() if i == j) / clips if clips else None


def _table(get: Callable[[tuple[int, int], Any], Any], count: int, empty: object) -> list[list[Any]]:
    return [[get((i, j), empty) for j in range(count)] for i in range(count)]
