"""Returns results as JSON objects, on whose keys scripts rely, and as lines for people."""

from shlex import quote
from typing import Any

from cl_ast.continual.add_task import Learned
from cl_ast.continual.share import Made
from cl_ast.evaluation.accuracy import Measured
from cl_ast.evaluation.details import Details
from cl_ast.evaluation.intervals import wilson
from cl_ast.evaluation.own_folder import FolderTest
from cl_ast.evaluation.shown_accuracy import countable, in_sentence
from cl_ast.evaluation.tag_details import TagDetails
from cl_ast.excerpts import record
from cl_ast.tasks.kind_names import ACCURACY, metric_of
from cl_ast.tasks.length import recorded_seconds
from cl_ast.tasks.source import VersionSplit
from cl_ast.terminal.rendering.records import stopped
from cl_ast.wording import duration, plural, size, some_of
from registry import VersionRecord

_MOST_NAMES = 10  # labels in a line


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
        "stopped": version.training.get("stopped"),
        "seconds": version.seconds,
        "measured": [measured(other) for other in one.measured],
        "skipped": dict(one.skipped),
        "notes": list(one.notes),
        "metric": metric_of(version),
    }


def shared(one: Made) -> dict[str, Any]:
    """Return what `cl-ast share` prints as JSON."""
    part, learned = one.part, one.trained
    return {
        "name": part.name,
        "method": part.method,
        "sha256": part.sha256,
        "bytes": part.bytes,
        "epoch": learned.epoch,
        "validation_accuracy": dict(zip(part.tasks, learned.accuracies, strict=True)),
    }


def shared_line(one: Made) -> str:
    """Return the result of `cl-ast share` for a person, in one line."""
    part, learned = one.part, one.trained
    tasks = [
        f"{task} {100 * value:.1f} %" + (f" ({metric})" if metric != ACCURACY else "")
        for task, value, metric in zip(part.tasks, learned.accuracies, learned.metrics, strict=True)
    ]
    return (
        f"{part.name}: {part.method}, {size(part.bytes)}, frozen; validation accuracy at epoch {learned.epoch}: "
        f"{some_of(tasks, _MOST_NAMES)}; learn a task with it: cl-ast add-task TASK --share {quote(part.name)}"
    )


def measured(one: Measured) -> dict[str, Any]:
    """Return a task's test accuracy, or mAP, as `cl-ast add-task` and `cl-ast evaluate` print it."""
    right = round(one.oracle * one.clips) if one.metric == ACCURACY else None
    lwlrap = one.lwlrap
    return {
        "task": one.task,
        "clips": one.clips,
        "accuracy": one.oracle,
        "auto_accuracy": one.auto,
        "routed_right": None if one.routed is None else one.routed.get(one.task, 0) / one.clips,
        "declined": None if one.routed is None else one.declined / one.clips,
        "right": right,
        "interval": None if right is None else wilson(right, one.clips),
        "metric": one.metric,
        **({} if lwlrap is None else {"lwlrap": lwlrap}),
    }


def folder_test(
    test: FolderTest, details: Details | TagDetails, *, with_details: bool, flat: bool = False
) -> dict[str, Any]:
    """Return what `cl-ast evaluate --data` prints as JSON or, flat, as a line of CSV."""
    found = measured(test.measured)
    if flat:
        low, high = found.pop("interval") or (None, None)
        return {**found, "low": low, "high": high, "other_clips": sum(test.other_labels.values())}
    extra = {"data": str(test.folder), "other_labels": dict(test.other_labels), "trained_on": test.trained_on}
    return {**found, **extra, **(details.to_json() if with_details else {})}


def folder_notes(test: FolderTest) -> list[str]:
    """Return what is to be said of a folder that a task was measured on: what was left out, and what was known."""
    task, lines = test.measured.task, list(test.notes)
    if test.other_labels:
        shown = [f"{label} ({clips})" for label, clips in test.other_labels.items()]
        count = sum(test.other_labels.values())
        lines.append(
            f"{plural(count, 'clip')} left out, as {task} does not know "
            f"{'their labels' if len(shown) > 1 else 'the label'}: {some_of(shown, _MOST_NAMES)}"
        )
    if test.trained_on:
        lines.append(
            f"{test.trained_on} of the {test.measured.clips} clips trained or validated {task}, so that the "
            f"{test.measured.metric} is too high"
        )
    return lines


def split_rows(found: VersionSplit) -> list[dict[str, Any]]:
    """Return one flat record for each clip of a task, as the CSV of `cl-ast splits` has it."""
    return [
        {**record(clip.place), "label": clip.label, "split": split}
        for split, clips in found.clips.items()
        for clip in clips
    ]


def split(version: VersionRecord, found: VersionSplit) -> dict[str, Any]:
    """Return what `cl-ast splits` prints as JSON."""
    return {
        "task": version.task,
        "version": version.number,
        "data": version.source.get("data"),
        "protocol": version.protocol,
        "missing": dict(found.missing),
        "clips": split_rows(found),
    }


def learned_line(one: Learned) -> str:
    """Return the result of `cl-ast add-task` for a person, in one line."""
    version = one.task.version
    training = version.training
    tested = ""
    if version.learned_accuracy is not None:
        tested = f"test {metric_of(version)} {in_sentence(version.learned_accuracy, countable(training, 'test'))}, "
    when = f"at epoch {one.epoch}" if one.epoch else "with the linear probe, which training did not improve on"
    early = stopped(training)
    return (
        f"{one.task.name} trained in {duration(version.seconds)}: {tested}"
        f"validation {in_sentence(one.validation_accuracy, countable(training, 'validation'))} {when}"
        f"{f' (stopped {early})' if early else ''}; "
        f"{version.trainable_parameters:,} parameters, {version.adapter_bytes:,} bytes"
    )
