"""What `cl-ast stats` reports, from the registry alone: no torch, no model, no audio."""

from typing import Any

from cl_ast import metrics
from registry import Mode, Registry, TaskRecord

_MODES: tuple[Mode, ...] = ("oracle", "auto")


def stats(registry: Registry) -> dict[str, Any]:
    """The whole report, key for key as the command-line contract has it."""
    backbone = registry.backbone
    tasks = registry.tasks()
    matrices = {mode: registry.matrix(mode) for mode in _MODES}
    confusion = registry.confusion()
    storage = registry.storage()
    full = len(tasks) * (backbone.bytes if backbone else 0)
    return {
        "backbone": None
        if backbone is None
        else {
            "name": backbone.name,
            "fingerprint": backbone.fingerprint,
            "parameters": backbone.parameters,
            "bytes": backbone.bytes,
        },
        "tasks": [_task(task, i, matrices) for i, task in enumerate(tasks)],
        "matrix": matrices,
        "metrics": {mode: _metrics(matrices[mode]) for mode in _MODES},
        "routing": {"task_accuracy": _task_accuracy(confusion), "confusion": confusion},
        "storage": {
            "adapter_bytes": storage.adapter_bytes,
            "full_copies_bytes": full,
            "ratio": full / storage.adapter_bytes if storage.adapter_bytes else None,
            "database_bytes": storage.database_bytes,
        },
    }


def _task(task: TaskRecord, i: int, matrices: dict[Mode, list[list[float | None]]]) -> dict[str, Any]:
    last = {mode: matrices[mode][-1][i] for mode in _MODES}
    version = task.version
    return {
        "name": task.name,
        "method": version.method,
        "version": version.number,
        "classes": version.classes,
        "trainable_parameters": version.trainable_parameters,
        "bytes": version.adapter_bytes,
        "learned_accuracy": version.learned_accuracy,
        "accuracy": last["oracle"],
        "auto_accuracy": last["auto"],
        "seconds": version.seconds,
    }


def _metrics(matrix: list[list[float | None]]) -> dict[str, float | None]:
    return {
        "average_accuracy": metrics.average_accuracy(matrix),
        "forgetting": metrics.forgetting(matrix),
        "backward_transfer": metrics.backward_transfer(matrix),
        # Isolated adapters have no head before they are learned, and none is started from another.
        "forward_transfer": None,
    }


def _task_accuracy(confusion: list[list[int]]) -> float | None:
    """Share of test clips that were sent to their own task, over all tasks measured."""
    clips = sum(map(sum, confusion))
    return sum(row[i] for i, row in enumerate(confusion)) / clips if clips else None
