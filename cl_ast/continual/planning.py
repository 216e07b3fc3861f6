"""Decides everything about a task that is to be added, and refuses what could not be committed, before any training."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

import streams
from cl_ast.adapters.adapter import NONE
from cl_ast.adapters.method import Method
from cl_ast.adapters.spec import MethodSpec, parse
from cl_ast.continual.negatives import NegativeClips, negatives_in
from cl_ast.environment import package_versions
from cl_ast.errors import MethodError, TaskNotFoundError
from cl_ast.inference.session import Session
from cl_ast.router import ALPHA
from cl_ast.tasks.kind_names import CLASSES, TAGS
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.clips import ClipSet, labelled
from cl_ast.training.options import Hyperparameters, TrainOptions
from cl_ast.training.recipes import recipe_for
from registry import NewVersion, SharedPart, TaskRecord
from registry.version_facts import check_new_labels


@dataclass(frozen=True, slots=True)
class Request:
    """How a task is to be added. What is None is decided by the recipe of its data set (training/recipes.py).

    Attributes:
        method: a `--method` of the command line, or a spec that was made before.
        options: epochs, learning rate and all else that a training is given; what it leaves open is the recipe's.
        pooling, positions: as `TaskSettings` has them.
        store: how the file holds its numbers, one of `STORES`.
        replace: make a new version of a task of that name.
        resume: go on with a training that was stopped; None goes on with it where there is one.
        evaluate: measure every task afterwards.
        negatives: a folder of sounds that are none of the task's classes, from which its routing learns too.
        alpha: the p-value below which a clip is unknown; None for that of the task that is replaced, or the usual one.
        calibrate: fit a temperature to the validation clips, by which the probabilities are calibrated.
        share: the name of the shared part that the method reads.
    """

    method: MethodSpec | str | None = None
    options: TrainOptions | None = None
    pooling: str | None = None
    positions: str = "resize"
    store: str = "auto"
    replace: bool = False
    resume: bool | None = False
    evaluate: bool = True
    negatives: Path | None = None
    alpha: float | None = None
    calibrate: bool = True
    share: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A request in which everything is decided."""

    task: streams.Task
    settings: TaskSettings
    options: Hyperparameters
    fingerprint: str
    negatives: NegativeClips | None
    alpha: float


def planned(session: Session, task: streams.Task, request: Request) -> Plan:
    """Decide what the request leaves open, and refuse what cannot be committed later.

    Raises:
        TaskExistsError, RegistryError, MethodError, TrainingError, StreamError, AudioError: it cannot be committed.
    """
    session.refuse_other_choices()
    if request.evaluate:
        session.routing.refuse_stale()
    task = dataclasses.replace(task, name=session.free_name(task.name, replace=request.replace))
    check_labels(session, task, task.name)
    recipe = recipe_for(task.source.task, session.backbone)
    part = None if request.share is None else session.registry.shared_part(request.share)
    if part is not None:
        spec = _reading(part, request.method, session.methods)
    else:
        method = request.method or recipe.method
        spec = recipe.spec(method, session.methods) if isinstance(method, str) else method
    front_end = session.backbone.front_end(task.clip_seconds)
    pooling = request.pooling or recipe.pooling
    kind, sha256 = kind_of(task), part.sha256 if part else None
    settings = TaskSettings(
        task.name, spec, task.labels, front_end, pooling, request.positions, kind=kind, shared=sha256
    )
    options = recipe.complete(request.options or TrainOptions(), spec)
    negatives = None if request.negatives is None else negatives_in(request.negatives)
    if negatives is not None:
        negatives.require_enough(front_end.seconds)
    plan = Plan(task, settings, options, task.fingerprint(), negatives, _alpha(session, task.name, request.alpha))
    version_of(plan, 0, 0.0, {}, None)  # A label or a path that cannot be kept is refused now, not after the training.
    return plan


def kind_of(task: streams.Task) -> str:
    """Return which kind of labels a task has, one of `label_kinds.KINDS`."""
    return TAGS if task.source.tags else CLASSES


def clip_sets(
    session: Session, task: streams.Task, settings: TaskSettings, options: Hyperparameters
) -> tuple[ClipSet, ClipSet]:
    """Return the training clips and the validation clips of a task, as its training takes them.

    Raises:
        AudioError: a clip cannot be read, where all windows of the clips are taken and so all are read now.
    """
    training, validation = (
        labelled(
            clips,
            settings.labels,
            settings.front_end,
            session.backbone.device,
            session.clips.read,
            crop,
            labelling=settings.labelling,
        )
        for clips, crop in ((task.train, options.crop), (task.validation, options.one_stretch))
    )
    return training, validation


def fresh_model(session: Session, plan: Plan) -> TaskModel:
    """Return the untrained task."""
    sha256, generator = plan.settings.shared, torch.Generator().manual_seed(plan.options.seed)
    shared = NONE if sha256 is None else session.shared(sha256)
    return TaskModel.fresh(plan.settings, session.backbone, generator, shared)


def version_of(
    plan: Plan, parameters: int, seconds: float, training: Mapping[str, object], accuracy: float | None
) -> NewVersion:
    """Return what the registry keeps of the task. Raises RegistryError for what it cannot keep."""
    return NewVersion(
        method=plan.settings.method.text,
        labels=plan.task.labels,
        trainable_parameters=parameters,
        seed=plan.options.seed,
        seconds=seconds,
        source=plan.task.source.to_json(),
        data_fingerprint=plan.fingerprint,
        protocol=plan.task.protocol,
        packages=package_versions(),
        learned_accuracy=accuracy,
        training=training,
        shared=plan.settings.shared,
    )


def former_of(session: Session, name: str) -> TaskRecord | None:
    """Return the task that a new version will replace; None where there is no task of that name."""
    try:
        return session.registry.task(name)
    except TaskNotFoundError:
        return None


def _reading(part: SharedPart, method: MethodSpec | str | None, methods: Mapping[str, Method]) -> MethodSpec:
    """Return the method of a shared part. Raises MethodError where the method that is wanted is another one.

    The name of the method is enough: its options are those that the shared part was trained with.
    """
    own = parse(part.method, methods, stored=True)
    if method is None or str(method).strip().lower() == own.family:
        return own
    wanted = parse(method, methods) if isinstance(method, str) else method
    if wanted.text != own.text:
        raise MethodError(f'the shared part "{part.name}" is of {own}, and the method is {wanted}: leave out --method')
    return own


def _alpha(session: Session, name: str, wanted: float | None) -> float:
    """Return the limit for "unknown" of a new version: the one that is wanted, or that of the former version."""
    if wanted is not None:
        return wanted
    former = former_of(session, name)
    return ALPHA if former is None else session.routing.alpha_of(former.version)


def check_labels(session: Session, task: streams.Task, name: str) -> None:
    """Raise RegistryError for labels that a new task, or a new version of one, of that name cannot have."""
    former = former_of(session, name)
    check_new_labels(task.labels, known=() if former is None else former.labels)
