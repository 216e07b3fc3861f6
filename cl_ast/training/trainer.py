"""One task: the backbone frozen and in evaluation mode, adapter and head trained, the best validation weights kept."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.backbone.device import PRECISIONS, precision
from cl_ast.batching import chunks
from cl_ast.errors import TrainingError
from cl_ast.progress import Progress, Step, silent
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training import linear_probe as probe
from cl_ast.training.cached_states import Frozen, Split
from cl_ast.training.checkpoint import Best, Checkpoint
from cl_ast.training.clips import ClipSet
from cl_ast.training.distributed import ALONE, Group

HEADS = ("probe", "fresh")
_REPORT_EVERY = 10  # steps; reading the loss waits for the device


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The recipe. Defaults are the papers' (PETL of AST, section III-A), which all tasks there share, but for the head.

    Attributes:
        learning_rate: None takes the method's own; a cosine takes it to zero over all steps, without warm-up.
        frequency_mask, time_mask: SpecAugment's widest masks, in bins and frames; 0 is none.
        precision: of the backbone's arithmetic, one of `machine.PRECISIONS`; adapters stay in fp32.
        head: how the head starts, one of `HEADS`: as a linear probe (probe.py), or at random, as the papers' do.
        compile: the training step, by torch.compile: a minute or so before the first step, and faster steps after it.
    """

    epochs: int = 30
    batch_size: int = 32
    learning_rate: float | None = None
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-6
    frequency_mask: int = 0
    time_mask: int = 0
    precision: str = "auto"
    head: str = "probe"
    compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise TrainingError(f"no start of a head called {self.head!r}; there are {', '.join(HEADS)}")
        if self.precision not in PRECISIONS:
            raise TrainingError(f"no precision called {self.precision!r}; there are {', '.join(PRECISIONS)}")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.learning_rate is not None and not 0 < self.learning_rate < 100:
            raise TrainingError(f"the learning rate must be above 0 and below 100, not {self.learning_rate:g}")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(f"{name} must be at least 0 and below 1, not {getattr(self, name):g}")
        for name in ("weight_decay", "epsilon", "frequency_mask", "time_mask"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise TrainingError(f"{name} must be at least 0, not {getattr(self, name):g}")


@dataclass(frozen=True, slots=True)
class Trained:
    """What training came to; the model holds the weights of `epoch`.

    Attributes:
        epoch: the best on validation, from 1; 0 where nothing was better than the head's start.
        accuracy, loss: on validation, at that epoch.
        seconds: of training, reading of clips aside.
    """

    epoch: int
    accuracy: float
    loss: float
    seconds: float


def train(
    model: TaskModel,
    training: ClipSet,
    validation: ClipSet,
    options: TrainOptions,
    progress: Progress = silent,
    *,
    checkpoint: Checkpoint | None = None,
    resume: bool = False,
    group: Group = ALONE,
) -> Trained:
    """Train a fresh task in place. The backbone's weights do not change (full fine-tuning trains its own copy).

    Args:
        checkpoint: where the state is kept between epochs, so that a killed training can go on.
        resume: go on from there, to the same weights as an uninterrupted training.
        group: the processes that train the task together; all come to the same weights, and call this alike.

    Raises:
        TrainingError: the loss is no longer a number, the device's memory is full, there is nothing to resume, or
            masks are asked for where the backbone hears no spectrogram.
        AudioError: a clip cannot be read.
    """
    if training.front_end.padding is None and (options.frequency_mask or options.time_mask):
        raise TrainingError(
            f"{model.backbone.name} hears samples: there are no bins or frames to mask; set frequency_mask and "
            "time_mask (--freq-mask, --time-mask) to 0"
        )
    training.load("reading training clips", progress)
    validation.load("reading validation clips", progress)
    started = time.perf_counter()
    device = model.backbone.device
    seeded = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    try:
        with seeded, trainable(model):
            torch.manual_seed(options.seed)
            group.same(model.state().values())
            frozen = Frozen(model, options.precision, compile=options.compile)
            masks = options.frequency_mask or options.time_mask
            masked = partial(augment, options=options, fill=training.front_end.padding) if masks else None
            splits = Split(training, frozen, masked, group), Split(validation, frozen)
            for split, name in zip(splits, ("training", "validation"), strict=True):
                split.load(f"running the frozen layers over {name} clips", progress)
            if options.head == "probe" and not resume:
                probe.start(Split(training, frozen), progress, group)
            best = _epochs(model, *splits, options, progress, checkpoint, resume)
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"the memory of {device} is full; use a smaller --batch-size than {options.batch_size}"
        ) from error
    return Trained(best.epoch, best.accuracy, best.loss, best.seconds + time.perf_counter() - started)


def accuracy_of(model: TaskModel, clips: ClipSet, kind: str = "auto") -> tuple[float, float]:
    """Accuracy and mean cross-entropy over labelled clips, in a precision of `PRECISIONS`."""
    frozen = Frozen(model, kind)
    return scores(*outputs(Split(clips, frozen)))


def outputs(split: Split, group: Group = ALONE) -> tuple[Tensor, Tensor]:
    """Logits (n, classes) and targets (n,) of labelled clips, in their order, on the device.

    Args:
        group: the processes that share the batches, and all have the answer.
    """
    return split.gather(split.frozen.above, group)


def scores(logits: Tensor, targets: Tensor) -> tuple[float, float]:
    """Accuracy and mean cross-entropy."""
    right = int((logits.argmax(dim=-1) == targets).sum())
    return right / len(targets), float(F.cross_entropy(logits, targets))


def _epochs(
    model: TaskModel,
    training: Split,
    validation: Split,
    options: TrainOptions,
    progress: Progress,
    checkpoint: Checkpoint | None,
    resume: bool,
) -> Best:
    optimiser = torch.optim.AdamW(
        model.trainable(),
        lr=options.learning_rate or model.settings.method.learning_rate,
        betas=(options.beta1, options.beta2),
        eps=options.epsilon,
        weight_decay=options.weight_decay,
        fused=model.backbone.device.type == "cuda",
    )
    steps = -(-len(training) // options.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.epochs * steps)
    started = time.perf_counter()
    best = Best()
    done = 0
    if checkpoint is not None and resume:
        done, best = checkpoint.restore(model, optimiser, schedule)
    elif options.head == "probe":
        best = _better(best, 0, model, validation, training.group)
    for epoch in range(done + 1, options.epochs + 1):
        _epoch(model, training, options, optimiser, schedule, epoch, progress)
        best = _better(best, epoch, model, validation, training.group)
        if checkpoint is not None and training.group.main and epoch < options.epochs:
            checkpoint.keep(model, optimiser, schedule, epoch, best, time.perf_counter() - started)
    with torch.no_grad():
        for name, tensor in model.state().items():
            tensor.copy_(best.state[name])
    return best


def _better(best: Best, epoch: int, model: TaskModel, validation: Split, group: Group) -> Best:
    """The best so far, or the model as it is now."""
    accuracy, loss = scores(*outputs(validation, group))
    if loss != loss:
        raise TrainingError(f"the loss is not a number after epoch {epoch}; use a smaller --lr")
    if (accuracy, -loss) <= (best.accuracy, -best.loss):
        return best
    state = {name: tensor.detach().clone() for name, tensor in model.state().items()}
    return Best(epoch, accuracy, loss, best.seconds, state)


def _epoch(
    model: TaskModel,
    training: Split,
    options: TrainOptions,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    epoch: int,
    progress: Progress,
) -> None:
    order = torch.randperm(len(training)).tolist()
    device = model.backbone.device
    loss_sum = torch.zeros((), device=device)
    right = torch.zeros((), device=device)
    seen = 0  # clips of this process's share
    model.adapter.training = True
    try:
        for step, part in enumerate(chunks(len(order), options.batch_size)):
            loss, logits, targets = learn_batch(training, order[part.start : part.stop], optimiser)
            schedule.step()
            loss_sum += loss.detach() * len(targets)
            right += (logits.detach().argmax(dim=-1) == targets).sum()
            seen += len(targets)
            if (step + 1) % _REPORT_EVERY == 0 or part.stop == len(order):
                progress(
                    Step(
                        "training",
                        (epoch - 1) * len(order) + part.stop,
                        options.epochs * len(order),
                        f"epoch {epoch}/{options.epochs}",
                        float(loss_sum) / seen,
                        float(right) / seen,
                    )
                )
    finally:
        model.adapter.training = False


def learn_batch(
    split: Split, indices: Sequence[int], optimiser: torch.optim.Optimizer
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of the optimiser; the loss, the logits (batch, classes) and the targets, which nothing waited for.

    Where several processes train together, these are of this one's share, and the step is of all.
    """
    model = split.frozen.model
    states, targets = split.batch(indices)
    with precision(model.backbone.device, split.frozen.kind):
        logits = split.frozen.learn(states)
        loss = F.cross_entropy(logits.float(), targets)
    penalty = model.adapter.penalty()
    optimiser.zero_grad(set_to_none=True)
    whole = loss if penalty is None else loss + penalty
    # Weighted before the backward pass: a BatchNorm's gradients come from the losses of all.
    (whole * split.group.weight(len(indices)) if split.group.size > 1 else whole).backward()  # type: ignore[no-untyped-call]
    split.group.add_gradients(model.trainable())
    optimiser.step()
    return loss, logits, targets


def augment(features: Tensor, options: TrainOptions, fill: float | None) -> Tensor:
    """SpecAugment (Park et al. 2019): one band of bins and one of frames masked, other ones in each clip."""
    if fill is None or not (options.frequency_mask or options.time_mask):
        return features
    from torchaudio.functional import mask_along_axis_iid

    masked = features.unsqueeze(1)  # (batch, 1, frames, bins)
    for width, axis in ((options.frequency_mask, 3), (options.time_mask, 2)):
        if width:
            masked = mask_along_axis_iid(masked, min(width, masked.shape[axis]), fill, axis)
    return masked.squeeze(1)


@contextmanager
def trainable(model: TaskModel) -> Iterator[None]:
    """Exactly the task's own tensors need gradients inside the block, and nothing does after it."""
    tensors = model.trainable()
    for tensor in tensors:
        tensor.requires_grad_(True)
    try:
        yield
    finally:
        for tensor in tensors:
            tensor.requires_grad_(False)
            tensor.grad = None
