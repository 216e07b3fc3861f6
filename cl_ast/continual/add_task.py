"""Adds a task: it is trained, rounded, given its routing, measured with all others, and committed in one transaction.

Nothing is written before the commit, so whatever stops it before (an error, Ctrl-C) leaves the registry as it was.
"""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from torch import Tensor

import streams
from cl_ast import caches
from cl_ast.continual.cautions import few_clips, longer_clips, not_comparable
from cl_ast.continual.learn_routing import LearnedRouting, learn_routing
from cl_ast.continual.planning import Plan, Request, clip_sets, former_of, fresh_model, planned, version_of
from cl_ast.continual.routing_clips import clips_of
from cl_ast.continual.training_record import clip_counts, routing_record, training_record
from cl_ast.errors import AudioError, StreamError
from cl_ast.evaluation.accuracy import Measured, measure, measure_stored
from cl_ast.inference.session import Session
from cl_ast.progress import ClAstWarning, Progress, Step, silent
from cl_ast.tasks.task_file import StoredTask, to_bytes
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training import calibrating
from cl_ast.training.augmenting import augmentation
from cl_ast.training.checkpoint import Checkpoint
from cl_ast.training.clips import ClipSet
from cl_ast.training.distributed import ALONE, Group
from cl_ast.training.quantising import rounded
from cl_ast.training.stopping import Stop, never
from cl_ast.training.trainer import Trained, train
from cl_ast.wording import plural
from registry import TaskRecord
from streams.recorded_split import members_of


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
    trained = _as_kept(model, trained, validation, request, progress)
    routing = _routing(session, plan, model, progress)
    learned = finish(session, plan, request, Ready(model, trained, routing, str(session.backbone.device)), progress)
    group.wait()
    return learned


def train_alone(session: Session, plan: Plan, request: Request) -> Ready:
    """Do what depends on the task alone, and writes nothing to the registry: train it and learn its routing."""
    model, trained, validation = _trained(session, plan, request.resume, ALONE, silent, never)
    trained = _as_kept(model, trained, validation, request, silent)
    return Ready(model, trained, _routing(session, plan, model, silent), str(session.backbone.device))


def finish(session: Session, plan: Plan, request: Request, ready: Ready, progress: Progress) -> Learned:
    """Measure every task with a trained one beside it, commit it, and drop the checkpoint of its training."""
    model, routing = ready.model, ready.routing
    measured, skipped = _measured(session, plan.task, model, routing, progress) if request.evaluate else ([], {})
    former = former_of(session, plan.task.name)
    record = _committed(session, plan, request, ready, measured)
    notes = few_clips(plan.task, tested=request.evaluate)
    notes += not_comparable(session.registry, former.version, plan.task, record) if former else []
    _checkpoint(session, plan).drop()
    return Learned(record, ready.trained.accuracy, ready.trained.epoch, tuple(measured), skipped, tuple(notes))


def _as_kept(model: TaskModel, trained: Trained, validation: ClipSet, request: Request, progress: Progress) -> Trained:
    """Round a trained task to the numbers that its file will hold, then calibrate it; return its scores then."""
    progress(Step("rounding and calibrating", 0, len(validation)))
    trained, (logits, targets) = rounded(model, trained, validation, request.store)
    if request.calibrate:
        temperature = calibrating.fit(logits.cpu(), targets.cpu(), model.settings.labelling)
        model.settings = dataclasses.replace(model.settings, temperature=temperature)
    return trained


def _trained(
    session: Session, plan: Plan, resume: bool | None, group: Group, progress: Progress, stop: Stop
) -> tuple[TaskModel, Trained, ClipSet]:
    """Train a fresh task; return it with its validation clips."""
    model = fresh_model(session, plan)
    training, validation = clip_sets(session, plan.task, plan.settings, plan.options)
    checkpoint = _checkpoint(session, plan)
    if not resume and group.main:
        epochs = checkpoint.look(model)
        resume = resume is None and epochs > 0
        if epochs and not resume:
            warnings.warn(
                f"a checkpoint of {plural(epochs, 'epoch')} of this training is there: stop (Ctrl-C) and add "
                "--resume to go on from it; it is kept until this training has passed it",
                ClAstWarning,
                stacklevel=2,
            )
    augmentation(model, plan.options)  # What cannot be changed as the options say is refused before clips are read.
    training.load("reading training clips", progress)
    longer = longer_clips(plan.task, training.longer, plan.settings.front_end.seconds, plan.options.crop)
    if group.main and longer:
        warnings.warn(longer, ClAstWarning, stacklevel=2)
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


def _checkpoint(session: Session, plan: Plan) -> Checkpoint:
    """Return the training's checkpoint: outside the registry, which an interrupted training must not change."""
    identity = {
        **asdict(plan.settings),
        **asdict(plan.options),
        "data": plan.fingerprint,
        "backbone": session.backbone.fingerprint,
        "method": plan.settings.method.text,
    }
    return Checkpoint(caches.checkpoints(), identity, place=f"{session.registry.place}\n{plan.settings.name}")


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
    version = version_of(plan, ready.model.trainable_parameters(), ready.trained.seconds, record, accuracy)
    data = to_bytes(ready.model, session.backbone, {}, _tensors(ready.routing), members_of(plan.task))
    accuracies = [accuracy for one in measured for accuracy in one.records()]
    return session.registry.commit(plan.task.name, data, version, accuracies, replace=request.replace)


def _tensors(learned: LearnedRouting | None) -> Mapping[str, Tensor]:
    return {} if learned is None else learned.routing.tensors()
