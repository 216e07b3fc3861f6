"""Trains one task: the backbone stays frozen, adapter and head learn, and the best weights on validation are kept."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cl_ast.adapters.phases import after_step, gives_up_parts, is_settled, is_trained_twice, rewind
from cl_ast.batching import chunks
from cl_ast.errors import TrainingError
from cl_ast.progress import Progress, Step, silent
from cl_ast.tasks.label_kinds import LabelKind, Loss
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training import linear_probe
from cl_ast.training.augmenting import augmentation
from cl_ast.training.cached_states import CachedStates, SplitForward
from cl_ast.training.checkpoint import Checkpoint, EpochScores, History
from cl_ast.training.class_weights import weights_of
from cl_ast.training.clips import ClipSet
from cl_ast.training.compilation import pays
from cl_ast.training.distributed import ALONE, Group
from cl_ast.training.memory import full_memory_named
from cl_ast.training.options import Hyperparameters
from cl_ast.training.seeding import seeded
from cl_ast.training.step import Steps, optimiser_of
from cl_ast.training.stopping import Stop, Stopping, never

REPORT_EVERY = 10  # steps; reading the loss waits for the device


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a training; the model holds the weights of `epoch`.

    Attributes:
        epoch: the best on validation, from 1; 0 where no epoch was better than the linear probe.
        accuracy, loss: on validation clips, at that epoch; of a task of tags the accuracy is its mAP, here and below.
        seconds: the time of training, without the reading of clips.
        curve: the scores of each epoch, in order; epoch 0 is the linear probe.
        stopped: why it ended before its last epoch, `stopping.PATIENCE` or `stopping.BY_USER`; None if it did not.
    """

    epoch: int
    accuracy: float
    loss: float
    seconds: float
    curve: tuple[EpochScores, ...] = ()
    stopped: str | None = None


def train(
    model: TaskModel,
    training: ClipSet,
    validation: ClipSet,
    options: Hyperparameters,
    progress: Progress = silent,
    *,
    checkpoint: Checkpoint | None = None,
    resume: bool = False,
    group: Group = ALONE,
    stop: Stop = never,
) -> Trained:
    """Train a fresh task in place. The shared backbone does not change (full fine-tuning trains its own copy).

    Afterwards the task has the forms that its file has (`TaskModel.finish`).

    Args:
        checkpoint: where the state is kept between epochs, so that a killed training can go on. One that an earlier run
            left is kept until this one has passed it.
        resume: go on from the checkpoint, to the same weights as an uninterrupted training.
        group: the processes that train the task together; all call this alike and end with the same weights.
        stop: asked after each step. Where it returns True, the training ends with the best weights so far, of which
            those after this step may be.

    Raises:
        TrainingError: the loss is no longer a number, the device's memory is full, there is nothing to resume, or
            clips cannot be changed as the options say.
        AudioError: a clip cannot be read.
    """
    if is_trained_twice(model.adapter) and options.epochs < 2:
        raise TrainingError(f"{model.settings.method} is trained twice, for half of the epochs each; give 2 or more")
    augment = augmentation(model, options)
    training.load("reading training clips", progress)
    validation.load("reading validation clips", progress)
    started = time.perf_counter()
    device = model.backbone.device
    labelling, labels = model.settings.labelling, len(model.settings.labels)
    weights = weights_of(options.class_weights, labelling, training.targets, labels, device)
    stopping = Stopping(options.patience, stop, group)
    with full_memory_named(device, options.batch_size), seeded(options.seed, device), trainable(model.trainable()):
        group.same(model.state().values())
        forward = SplitForward(model, options.precision, compile=_compiles(model, training, options, group))
        states = CachedStates(training, forward, augment, group), CachedStates(validation, forward)
        for one, name in zip(states, ("training", "validation"), strict=True):
            one.load(f"running the frozen layers over {name} clips", progress)
        # A task that is rewound needs the start of its head again.
        if options.head == "probe" and (not resume or is_trained_twice(model.adapter)):
            linear_probe.start(CachedStates(training, forward), progress, group, weights)
        loss = labelling.loss(weights)
        history = _epochs(model, *states, options, loss, stopping, progress, checkpoint, resume)
    model.finish()
    seconds = history.seconds + time.perf_counter() - started
    return Trained(history.epoch, history.accuracy, history.loss, seconds, history.curve, stopping.reason)


def accuracy_of(model: TaskModel, clips: ClipSet, kind: str = "auto") -> tuple[float, float]:
    """Return accuracy (of tags, mAP) and mean loss over labelled clips, computed in a precision of `PRECISIONS`."""
    forward = SplitForward(model, kind)
    return scores(model.settings.labelling, *outputs(CachedStates(clips, forward)))


def outputs(states: CachedStates, group: Group = ALONE) -> tuple[Tensor, Tensor]:
    """Return logits (n, labels) and targets of labelled clips, in their order, on the device.

    Args:
        group: the processes that share the batches; all of them get the whole result.
    """
    return states.gather(states.forward.above, group)


def scores(labelling: LabelKind, logits: Tensor, targets: Tensor) -> tuple[float, float]:
    """Return accuracy (of tags, mAP) and mean loss, in which all labels weigh the same."""
    return labelling.measure(logits, targets), float(labelling.loss(None)(logits, targets))


def measured(states: CachedStates, epoch: int, group: Group = ALONE) -> tuple[float, float]:
    """Return accuracy (of tags, mAP) and mean loss over validation clips, as they are after an epoch.

    Raises TrainingError where the loss is no longer a number.
    """
    accuracy, loss = scores(states.forward.model.settings.labelling, *outputs(states, group))
    if loss != loss:
        raise TrainingError(f"the loss is not a number after epoch {epoch}; use a smaller --lr")
    return accuracy, loss


@contextmanager
def trainable(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Let tensors of a frozen model have gradients inside the block, and none after it."""
    for tensor in tensors:
        tensor.requires_grad_(True)
    try:
        yield
    finally:
        for tensor in tensors:
            tensor.requires_grad_(False)
            tensor.grad = None


def _compiles(model: TaskModel, clips: ClipSet, options: Hyperparameters, group: Group) -> bool:
    """Return whether the steps are compiled; those of several processes are not, since they wait for each other."""
    if options.compile != "auto" or group.size > 1 or model.backbone.device.type != "cuda":
        return options.compile == "on" and group.size == 1
    with torch.no_grad():
        tokens = model.embed(torch.zeros(1, *clips.front_end.shape, device=model.backbone.device)).shape[1]
    return pays(model, len(clips), options.epochs, tokens)


def _epochs(
    model: TaskModel,
    training: CachedStates,
    validation: CachedStates,
    options: Hyperparameters,
    loss: Loss,
    stopping: Stopping,
    progress: Progress,
    checkpoint: Checkpoint | None,
    resume: bool,
) -> History:
    """Train all epochs, and leave the best weights in the model."""
    steps = -(-len(training) // options.batch_size)
    settled = [is_settled(model.adapter, epoch * steps, options.epochs * steps) for epoch in range(options.epochs + 1)]
    rewound_after = options.epochs // 2 if is_trained_twice(model.adapter) else 0
    head = {name: tensor.detach().clone() for name, tensor in model.head.items()}

    record = False if gives_up_parts(model.adapter) else None  # the gradients of a recorded step cannot be read

    def begin() -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler, Steps]:
        optimiser = optimiser_of(model, options)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, (options.epochs - rewound_after) * steps)
        return optimiser, schedule, Steps(training, optimiser, loss, record=record)

    optimiser, schedule, taking = begin()
    started = time.perf_counter()
    history = History()
    done = 0
    if checkpoint is not None and resume:
        done, history = checkpoint.restore(model, optimiser, schedule)
    elif options.head == "probe":
        history = _with_epoch(history, 0, (None, None), model, validation, training.group)
    for epoch in range(done + 1, options.epochs + 1):
        if stopping.before_epoch(history, rewound_after or settled.index(True) - 1):
            break
        if epoch == rewound_after + 1 > 1:
            history = _rewound(model, head, history, validation, training.group)
            optimiser, schedule, taking = begin()
        learned = _epoch(taking, training, options, stopping, schedule, epoch, progress)
        history = _with_epoch(history, epoch, learned, model, validation, training.group, keep=settled[epoch])
        if stopping.reason:  # in the middle of an epoch, from which no training can be resumed
            break
        if checkpoint is not None and training.group.main and epoch < options.epochs:
            checkpoint.save(model, optimiser, schedule, epoch, history, time.perf_counter() - started)
    if rewound_after and history.curve[-1].epoch <= rewound_after:  # stopped before
        history = _rewound(model, head, history, validation, training.group)
    if not history.state:  # stopped before any weights could be kept
        after_step(model.adapter, 1, 1)
        last = history.curve[-1]
        history = replace(history, curve=history.curve[:-1])
        history = _with_epoch(history, last.epoch, (last.loss, last.accuracy), model, validation, training.group)
    with torch.no_grad():
        for name, tensor in model.state().items():
            tensor.copy_(history.state[name])
    return history


def _rewound(
    model: TaskModel, head: Mapping[str, Tensor], history: History, validation: CachedStates, group: Group
) -> History:
    """Rewind the adapter and the head to their start (`phases.rewind`).

    Return the history with this start as the best weights so far, because those of before have too many numbers.
    """
    rewind(model.adapter)
    with torch.no_grad():
        for name, tensor in model.head.items():
            tensor.copy_(head[name])
    start = _with_epoch(History(), 0, (None, None), model, validation, group)
    return replace(start, seconds=history.seconds, curve=history.curve)


def _with_epoch(
    history: History,
    epoch: int,
    learned: tuple[float | None, float | None],
    model: TaskModel,
    validation: CachedStates,
    group: Group,
    *,
    keep: bool = True,
) -> History:
    """Return the history with one more epoch, and with the model's weights where they are the best so far.

    Args:
        learned: loss and accuracy over the training clips during the epoch, None for what was not measured.
        keep: whether the weights may be kept; not while a method still gives parts of them up.
    """
    accuracy, loss = measured(validation, epoch, group)
    learned_loss, learned_accuracy = learned
    one = EpochScores(epoch, learned_loss, learned_accuracy, loss, accuracy)
    history = replace(history, curve=(*history.curve, one))
    if not keep or (accuracy, -loss) <= (history.accuracy, -history.loss):
        return history
    state = {name: tensor.detach().clone() for name, tensor in model.state().items()}
    return replace(history, epoch=epoch, accuracy=accuracy, loss=loss, state=state)


def _epoch(
    taking: Steps,
    training: CachedStates,
    options: Hyperparameters,
    stopping: Stopping,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    epoch: int,
    progress: Progress,
) -> tuple[float, float | None]:
    """Train one epoch, or a part of it if the training is stopped.

    Return the mean loss and the accuracy over its clips, each as it was when it was trained on. Of tags there is no
    accuracy: mAP is of all clips together.
    """
    order = torch.randperm(len(training)).tolist()
    model, labelling = training.forward.model, training.forward.model.settings.labelling
    loss_sum = torch.zeros((), device=model.backbone.device)
    right: Tensor | None = torch.zeros((), device=model.backbone.device)
    seen = 0  # clips of this process's share
    parts = list(chunks(len(order), options.batch_size))
    batches = [order[part.start : part.stop] for part in parts]
    with model.adapter.training_mode(), training.ahead(batches):
        for step, (part, batch) in enumerate(zip(parts, batches, strict=True)):
            loss, logits, targets = taking.take(batch)
            schedule.step()
            after_step(model.adapter, (epoch - 1) * len(parts) + step + 1, options.epochs * len(parts))
            loss_sum += loss * len(targets)
            own = labelling.right(logits, targets)
            right = None if right is None or own is None else right + own
            seen += len(targets)
            if (step + 1) % REPORT_EVERY == 0 or part.stop == len(order):
                done, total = (epoch - 1) * len(order) + part.stop, options.epochs * len(order)
                note = f"epoch {epoch}/{options.epochs}"
                progress(Step("training", done, total, note, float(loss_sum) / seen, _share(right, seen)))
            if stopping.after_step():
                break
    return float(loss_sum) / seen, _share(right, seen)


def _share(right: Tensor | None, clips: int) -> float | None:
    return None if right is None else float(right) / clips
