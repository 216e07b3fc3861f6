"""Trains the tasks of one registry again, in another: the way to a better backbone, or to another method."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cl_ast.adapters.spec import parse
from cl_ast.continual.add_task import Learned, add_task
from cl_ast.continual.negatives import negatives_in
from cl_ast.continual.planning import Request
from cl_ast.continual.routing_clips import recorded_negatives
from cl_ast.continual.training_record import recorded_options
from cl_ast.errors import AudioError, RegistryError, StreamError, TaskNotFoundError
from cl_ast.inference.session import Session
from cl_ast.progress import ClAstWarning, Progress
from cl_ast.router.task_routing import alpha_in
from cl_ast.tasks.source import reload_version
from registry import Registry, TaskRecord, names
from registry.version_facts import check_new_labels


@dataclass(frozen=True, slots=True)
class Skipped:
    """A task that was not trained again, and why.

    Attributes:
        already_there: whether the other registry has it already, as after a run that was stopped.
    """

    task: str
    reason: str
    already_there: bool = False


def relearn(
    records: Sequence[TaskRecord], source: Registry, target: Session, method: str | None, progress: Progress
) -> Iterator[Learned | Skipped]:
    """Train tasks again from their recorded sources and options, in their order, and say of each when it is done.

    A task that the target has already is skipped, so that a stopped run goes on where it was.

    Args:
        records: the tasks, as the registry `source` has them.
        target: where they are trained.
        method: for all of them; None keeps each one's own.
    """
    for record in records:
        try:
            yield _again(record, source, target, method, progress)
        except (StreamError, AudioError) as error:
            yield Skipped(record.name, str(error))


def _again(
    record: TaskRecord, source: Registry, target: Session, method: str | None, progress: Progress
) -> Learned | Skipped:
    try:
        target.registry.task(record.name)
    except TaskNotFoundError:
        refused = _refused(record, method)
        if refused:
            return Skipped(record.name, refused)
        # The task may have been renamed since.
        task = replace(reload_version(source, record.version), name=record.name)
        alpha, negatives = alpha_in(source.read_adapter(record.version)), _negatives(record)
        request = replace(_request(record, target, method), alpha=alpha, negatives=negatives)
        return add_task(target, task, request, progress=progress)
    return Skipped(record.name, "the other registry has it already", already_there=True)


def _negatives(record: TaskRecord) -> Path | None:
    """Return the folder of the task's negatives.

    Warns:
        ClAstWarning: it cannot be read, so that the task is trained again without them.
    """
    folder = recorded_negatives(record.version)
    if folder is None:
        return None
    try:
        negatives_in(folder)
    except StreamError as error:
        message = f"{record.name} is trained again without its negatives: {error}"
        warnings.warn(message, ClAstWarning, stacklevel=2)
        return None
    return folder


def _refused(record: TaskRecord, method: str | None) -> str | None:
    """Return why a task cannot be a new one elsewhere.

    It reads a shared part of its own registry, or an older release allowed its name or a label of it.
    """
    if record.version.shared is not None and method is None:
        return "it reads a shared part of its own registry; give --method for another way to train it"
    try:
        names.checked(record.name)
        check_new_labels(record.labels)
    except RegistryError as error:
        return str(error)
    return None


def _request(record: TaskRecord, target: Session, method: str | None) -> Request:
    """Return how the task was trained; what does not fit another method or backbone is left to the recipe."""
    version, training = record.version, record.version.training
    before = parse(version.method, target.methods, stored=True)
    spec = parse(method or before.text, target.methods)
    spectrogram = target.backbone.front_end(1.0).spectrogram
    options = recorded_options(training, keep_rate=spec.text == before.text, keep_masks=spectrogram)
    pooling, positions, store = (training.get(key) for key in ("pooling", "positions", "store"))
    return Request(
        method=spec,
        options=options,
        pooling=None if pooling is None else str(pooling),
        positions=str(positions or "resize"),
        store=str(store or "auto"),
        resume=None,
        calibrate=training.get("temperature", 1.0) is not None,
    )
