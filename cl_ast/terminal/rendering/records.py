"""Returns stored tasks as JSON objects; this module does not import torch, so that listing tasks starts quickly."""

from collections.abc import Mapping, Sequence
from typing import Any

from cl_ast.tasks.kind_names import metric_of
from cl_ast.tasks.length import recorded_seconds
from cl_ast.tasks.origin import by_name_only
from cl_ast.wording import plural
from registry import TaskRecord, VersionRecord


def task(record: TaskRecord, seconds: float | None) -> dict[str, Any]:
    """Return a task with its current version, as `cl-ast show` prints it.

    Args:
        seconds: how much of a clip it takes.
    """
    return {"name": record.name, "labels": list(record.labels), **version(record.version), "hears": seconds}


def listed(record: TaskRecord, nearest: Sequence[tuple[str, float]], seconds: float | None) -> dict[str, Any]:
    """Return a task as `cl-ast tasks` prints it: with the tasks that its test clips were sent to, and their shares."""
    return {**task(record, seconds), "nearest": [{"task": name, "share": share} for name, share in nearest]}


def version(record: VersionRecord) -> dict[str, Any]:
    """Return one version of a task."""
    return {
        "version": record.number,
        "method": record.method,
        "classes": record.classes,
        "trainable_parameters": record.trainable_parameters,
        "bytes": record.adapter_bytes,
        "learned_accuracy": record.learned_accuracy,
        "seconds": record.seconds,
        "hears": recorded_seconds(record),
        "seed": record.seed,
        "source": dict(record.source),
        "data_fingerprint": record.data_fingerprint,
        "protocol": record.protocol,
        "packages": dict(record.packages),
        "training": dict(record.training),
        "by_name_only": by_name_only(record),
        "sha256": record.adapter_sha256,
        "created": record.created.isoformat(),
        "metric": metric_of(record),
    }


def epochs(count: object) -> str:
    """Return a number of epochs from a record, which may be anybody's, with the noun."""
    return plural(count, "epoch") if isinstance(count, int) else f"{count} epochs"


def stopped(record: Mapping[str, Any]) -> str:
    """Return when and why a training ended before its last epoch, or no text; the record may be anybody's."""
    reason, curve = record.get("stopped"), record.get("curve")
    last = curve[-1] if isinstance(curve, list) and curve else None
    if reason not in ("patience", "user") or not isinstance(last, Mapping):
        return ""
    why = f"no better for {epochs(record.get('patience'))}" if reason == "patience" else "by its user"
    return f"in epoch {last.get('epoch')} of {record.get('epochs')}, {why}"
