"""Adds a task: it is trained, rounded, given its routing, measured with all others, and committed in one transaction.

Nothing is written before the commit, so whatever stops it before (an error, Ctrl-C) leaves the registry as it was.
"""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import platformdirs
import torch
from torch import Tensor

import streams
from cl_ast.adapters.spec import MethodSpec, parse
from cl_ast.continual.cautions import few_clips, not_comparable
from cl_ast.continual.learn_routing import LearnedRouting, learn_routing
from cl_ast.continual.negatives import NegativeClips, negatives_in
from cl_ast.continual.routing_clips import clips_of
from cl_ast.continual.training_record import clip_counts, routing_record, training_record
from cl_ast.environment import package_versions
from cl_ast.errors import AudioError, StreamError, TaskNotFoundError
from cl_ast.evaluation.accuracy import Measured, measure, measure_stored
from cl_ast.inference.session import Session
from cl_ast.progress import ClAstWarning, Progress, silent
from cl_ast.router import ALPHA
from cl_ast.tasks.task_file import StoredTask, to_bytes
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.augmenting import augmentation
from cl_ast.training.calibrating import temperature_of
from cl_ast.training.checkpoint import Checkpoint
from cl_ast.training.clips import ClipSet, labelled
from cl_ast.training.distributed import ALONE, Group
from cl_ast.training.options import Hyperparameters, TrainOptions
from cl_ast.training.quantising import rounded
from cl_ast.training.recipes import recipe_for
from cl_ast.training.stopping import Stop, never
from cl_ast.training.trainer import Trained, train
from registry import NewVersion, Registry, TaskRecord, VersionRecord
from registry.version_facts import check_new_labels
from streams.recorded_split import members_of

_NAMED = 3  # clips in a message


@dataclass(frozen=True, slots=True)
class Learned:
    """The result of adding a task.

    Attributes:
        task: as it now stands in the registry.
        validation_accuracy, epoch: of the weights that were kept; epoch 0 is the linear probe.
        measured: every task's test accuracy after it; empty with `evaluate=False`.
        skipped: earlier tasks that could not be measured, and why.
        notes: what makes the accuracy less certain, as few clips, in sentences.
    """

    task: TaskRecord
    validation_accuracy: float
    epoch: int
    measured: tuple[Measured, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """How a task is to be added. What is None is decided by the recipe of its data set (training/recipes.py).

    Attributes:
        pooling, positions: as `TaskSettings` has them.
        store: how the file holds its numbers, one of `STORES`.
        replace: make a new version of a task of that name.
        resume: go on with a training that was stopped; None goes on with it where there is one.
        evaluate: measure every task afterwards.
        negatives: a folder of sounds that are none of the task's classes, from which its routing learns too.
        alpha: the p-value below which a clip is unknown; None for that of the task that is replaced, or the usual one.
        calibrate: fit a temperature to the validation clips, by which the probabilities are calibrated.
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


@dataclass(frozen=True, slots=True)
class Plan:
    """A request in which everything is decided."""

    task: streams.Task
    settings: TaskSettings
    options: Hyperparameters
    fingerprint: str
    negatives: NegativeClips | None
    alpha: float


@dataclass(frozen=True, slots=True)
class Ready:
    """A task that is trained, and not yet measured and committed.

    Attributes:
        device: what it was trained on.
    """

    model: TaskModel
    trained: Trained
    routing: LearnedRouting | None
    device: str


def add_task(
    session: Session,
    task: streams.Task,
    request: Request,
    *,
    group: Group = ALONE,
    progress: Progress = silent,
    stop: Stop = never,
) -> Learned:
    """Add a task, as `Manager.add_task` describes it."""
    plan = planned(session, task, request)
    model, trained, validation = _trained(session, plan, request.resume, group, progress, stop)
    if not group.main:
        group.wait()  # while the main process measures and commits
        return Learned(session.registry.task(plan.task.name), trained.accuracy, trained.epoch, ())
    trained = _as_kept(model, trained, validation, request)
    routing = _routing(session, plan, model, progress)
    learned = finish(session, plan, request, Ready(model, trained, routing, str(session.backbone.device)), progress)
    group.wait()
    return learned


def train_alone(session: Session, plan: Plan, request: Request) -> Ready:
    """Do what depends on the task alone, and writes nothing to the registry: train it and learn its routing."""
    model, trained, validation = _trained(session, plan, request.resume, ALONE, silent, never)
    trained = _as_kept(model, trained, validation, request)
    return Ready(model, trained, _routing(session, plan, model, silent), str(session.backbone.device))


def finish(session: Session, plan: Plan, request: Request, ready: Ready, progress: Progress) -> Learned:
    """Measure every task with a trained one beside it, commit it, and drop the checkpoint of its training.

    Warns:
        ClAstWarning: a class has few clips, or the version that it replaces was tested on other clips.
    """
    model, routing = ready.model, ready.routing
    measured, skipped = _measured(session, plan.task, model, routing, progress) if request.evaluate else ([], {})
    former = _former(session, plan.task.name)
    record = _committed(session, plan, request, ready, measured)
    notes = few_clips(plan.task, tested=request.evaluate)
    notes += not_comparable(session.registry, former, plan.task, record) if former else []
    _checkpoint(session, plan).drop()
    return Learned(record, ready.trained.accuracy, ready.trained.epoch, tuple(measured), skipped, tuple(notes))


def _as_kept(model: TaskModel, trained: Trained, validation: ClipSet, request: Request) -> Trained:
    """Round a trained task to the numbers that its file will hold, then calibrate it; return its scores then."""
    trained = rounded(model, trained, validation, request.store)
    if request.calibrate:
        model.settings = dataclasses.replace(model.settings, temperature=temperature_of(model, validation))
    return trained


def planned(session: Session, task: streams.Task, request: Request) -> Plan:
    """Decide what the request leaves open, and refuse what cannot be committed later.

    Raises:
        TaskExistsError, RegistryError, MethodError, TrainingError, StreamError, AudioError: as `Manager.add_task` says.
    """
    session.refuse_other_choices()
    if request.evaluate:
        session.routing.refuse_stale()
    task = dataclasses.replace(task, name=session.free_name(task.name, replace=request.replace))
    check_new_labels(task.labels, known=known_labels(session.registry, task.name))
    recipe = recipe_for(task.source.task, session.backbone)
    method = request.method or recipe.method
    spec = parse(method, session.methods) if isinstance(method, str) else method
    front_end = session.backbone.front_end(task.clip_seconds)
    pooling = request.pooling or recipe.pooling
    settings = TaskSettings(task.name, spec, task.labels, front_end, pooling, request.positions)
    options = recipe.complete(request.options or TrainOptions(), spec)
    negatives = None if request.negatives is None else negatives_in(request.negatives)
    if negatives is not None:
        negatives.require_enough(front_end.seconds)
    plan = Plan(task, settings, options, task.fingerprint(), negatives, _alpha(session, task.name, request.alpha))
    _version(plan, 0, 0.0, {}, None)  # A label or a path that cannot be kept is refused now, not after the training.
    return plan


def _alpha(session: Session, name: str, wanted: float | None) -> float:
    """Return the limit for "unknown" of a new version: the one that is wanted, or that of the former version."""
    if wanted is not None:
        return wanted
    try:
        return session.routing.alpha_of(session.registry.task(name).version)
    except TaskNotFoundError:
        return ALPHA


def known_labels(registry: Registry, name: str) -> tuple[str, ...]:
    """Return the labels that a task has already; none where there is no task of that name."""
    try:
        return registry.task(name).labels
    except TaskNotFoundError:
        return ()


def _trained(
    session: Session, plan: Plan, resume: bool | None, group: Group, progress: Progress, stop: Stop
) -> tuple[TaskModel, Trained, ClipSet]:
    """Train a fresh task; return it with its validation clips."""
    task, device = plan.task, session.backbone.device
    model = TaskModel.fresh(plan.settings, session.backbone, torch.Generator().manual_seed(plan.options.seed))
    training, validation = (
        labelled(clips, task.labels, plan.settings.front_end, device, session.clips.read, crop)
        for clips, crop in ((task.train, plan.options.crop), (task.validation, plan.options.one_stretch))
    )
    checkpoint = _checkpoint(session, plan)
    if not resume and group.main:
        epochs = checkpoint.look(model)
        resume = resume is None and epochs > 0
        if epochs and not resume:
            warnings.warn(
                f"a checkpoint of {_epochs(epochs)} of this training is there: stop (Ctrl-C) and add --resume to go on "
                "from it; it is kept until this training has passed it",
                ClAstWarning,
                stacklevel=2,
            )
    augmentation(model, plan.options)  # What cannot be changed as the options say is refused before clips are read.
    training.load("reading training clips", progress)
    if group.main:
        _say_longer(plan, training)
    trained = train(
        model,
        training,
        validation,
        plan.options,
        progress,
        checkpoint=checkpoint,
        resume=bool(resume),
        group=group,
        stop=stop,
    )
    return model, trained, validation


def _say_longer(plan: Plan, training: ClipSet) -> None:
    """Warn of training clips that are longer than the task takes, and of what is taken of them."""
    names = [f"{path.parent.name}/{path.name}" for path in training.longer]
    if not names:
        return
    seconds, more = plan.settings.front_end.seconds, len(names) - _NAMED
    shown = ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
    taken = {
        "loudest": f"the loudest {seconds:g} s of each train",
        "start": f"the first {seconds:g} s of each train",
        "all": f"all windows of {seconds:g} s in which they sound train",
    }
    warnings.warn(
        f"{plan.task.name}: {len(names):,} of {len(plan.task.train):,} training clips are longer than the "
        f"{seconds:g} s that the task hears ({shown}); {taken[plan.options.crop]} (--crop)",
        ClAstWarning,
        stacklevel=2,
    )


def _checkpoint(session: Session, plan: Plan) -> Checkpoint:
    """Return the training's checkpoint: outside the registry, which an interrupted training must not change."""
    identity = {
        **asdict(plan.settings),
        **asdict(plan.options),
        "data": plan.fingerprint,
        "backbone": session.backbone.fingerprint,
        "method": plan.settings.method.text,
    }
    folder = Path(platformdirs.user_cache_dir("cl-ast")) / "training"
    return Checkpoint(folder, identity, place=f"{session.registry.place}\n{plan.settings.name}")


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


def _routing(session: Session, plan: Plan, model: TaskModel, progress: Progress) -> LearnedRouting | None:
    """Learn the task's routing. Where that fails the trained task is kept, and answers by name only.

    Warns:
        ClAstWarning: the routing could not be learned.
    """
    try:
        return learn_routing(
            session,
            clips_of(plan.task),
            model,
            plan.options.seed,
            progress,
            negatives=plan.negatives,
            alpha=plan.alpha,
        )
    except (AudioError, StreamError) as error:
        warnings.warn(f"{plan.task.name} answers by name only: {error}", ClAstWarning, stacklevel=2)
        return None


def _measured(
    session: Session, task: streams.Task, model: TaskModel, routing: LearnedRouting | None, progress: Progress
) -> tuple[list[Measured], dict[str, str]]:
    """Measure every task with the new one beside it, before that is committed."""
    candidate = StoredTask(model, _tensors(routing), {})
    others = [record for record in session.registry.tasks() if record.name != task.name]
    with session.candidate(task.name, candidate):
        is_routed = routing is not None or bool(session.routing.tasks().keys() - {task.name})
        router = session.routing.router({task.name: candidate}) if is_routed else None
        measured, skipped = measure_stored(session, others, router, progress)
        return [*measured, measure(session, task.name, task.test, router, progress)], skipped


def _committed(
    session: Session, plan: Plan, request: Request, ready: Ready, measured: Sequence[Measured]
) -> TaskRecord:
    """Write the task's file, its version and what was measured: all of it or nothing."""
    own = [one.oracle for one in measured if one.task == plan.task.name]
    session.routing.keep_space()
    used, clips = routing_record(ready.routing, clips_of(plan.task)), clip_counts(plan.task)
    record = training_record(
        ready.model, plan.options, ready.trained, used, request.store, clips, calibrated=request.calibrate
    )
    record["device"] = ready.device
    accuracy = own[0] if own else None
    version = _version(plan, ready.model.trainable_parameters(), ready.trained.seconds, record, accuracy)
    data = to_bytes(ready.model, session.backbone, {}, _tensors(ready.routing), members_of(plan.task))
    accuracies = [accuracy for one in measured for accuracy in one.records()]
    return session.registry.commit(plan.task.name, data, version, accuracies, replace=request.replace)


def _tensors(learned: LearnedRouting | None) -> Mapping[str, Tensor]:
    return {} if learned is None else learned.routing.tensors()


def _former(session: Session, name: str) -> VersionRecord | None:
    """Return the version that a new one will replace."""
    try:
        return session.registry.task(name).version
    except TaskNotFoundError:
        return None


def _version(
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
    )
