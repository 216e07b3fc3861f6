"""Returns results as JSON objects, on whose keys scripts rely, and as lines for people."""

from typing import Any

from cl_ast.continual.add_task import Learned
from cl_ast.evaluation.accuracy import Measured
from cl_ast.evaluation.comparing import Compared
from cl_ast.evaluation.intervals import wilson
from cl_ast.evaluation.shares import clip_count, in_sentence
from cl_ast.tasks.length import recorded_seconds


def learned(one: Learned) -> dict[str, Any]:
    """Return what `cl-ast add-task` prints as JSON."""
    version = one.task.version
    return {
        "task": one.task.name,
        "version": version.number,
        "method": version.method,
        "classes": version.classes,
        "hears": recorded_seconds(version),
        "trainable_parameters": version.trainable_parameters,
        "bytes": version.adapter_bytes,
        "validation_accuracy": one.validation_accuracy,
        "accuracy": version.learned_accuracy,
        "epoch": one.epoch,
        "seconds": version.seconds,
        "measured": [measured(other) for other in one.measured],
        "skipped": dict(one.skipped),
        "notes": list(one.notes),
    }


def measured(one: Measured) -> dict[str, Any]:
    """Return a task's test accuracy as `cl-ast add-task` and `cl-ast evaluate` print it."""
    return {
        "task": one.task,
        "clips": one.clips,
        "accuracy": one.oracle,
        "auto_accuracy": one.auto,
        "routed_right": None if one.routed is None else one.routed.get(one.task, 0) / one.clips,
        "declined": None if one.routed is None else one.declined / one.clips,
        "right": round(one.oracle * one.clips),
        "interval": wilson(round(one.oracle * one.clips), one.clips),
    }


def learned_line(one: Learned) -> str:
    """Return the result of `cl-ast add-task` for a person, in one line."""
    version = one.task.version
    training = version.training
    tested = ""
    if version.learned_accuracy is not None:
        tested = f"test accuracy {in_sentence(version.learned_accuracy, clip_count(training, 'test'))}, "
    when = f"at epoch {one.epoch}" if one.epoch else "with the linear probe, which training did not improve on"
    return (
        f"{one.task.name} learned in {version.seconds:.0f} s: {tested}"
        f"validation {in_sentence(one.validation_accuracy, clip_count(training, 'validation'))} {when}; "
        f"{version.trainable_parameters:,} parameters, {version.adapter_bytes:,} bytes"
    )


def compared_row(one: Compared) -> dict[str, Any]:
    """Return the row of one method in the CSV of `cl-ast compare`."""
    row = {**one.to_json(), "accuracies": " ".join(map(str, one.accuracies))}
    del row["training"]
    return row
