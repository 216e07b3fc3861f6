"""Trains a shared part: the tasks that it is trained on learn together, and all of them change its tensors.

Each task has its own adapter and head, as always. A batch is of one task, and the batches come in random order.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor

from cl_ast.batching import chunks
from cl_ast.errors import TrainingError
from cl_ast.progress import Progress, Step, silent
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training import linear_probe
from cl_ast.training.augmenting import augmentation
from cl_ast.training.cached_states import CachedStates, SplitForward
from cl_ast.training.class_weights import weights_of
from cl_ast.training.clips import ClipSet
from cl_ast.training.memory import full_memory_named
from cl_ast.training.options import Hyperparameters
from cl_ast.training.seeding import seeded
from cl_ast.training.step import Steps, adamw
from cl_ast.training.stopping import Stop, never
from cl_ast.training.trainer import REPORT_EVERY, measured, trainable


class Learner(NamedTuple):
    """One of the tasks that learn together: its fresh model, its clips, and its options."""

    model: TaskModel
    training: ClipSet
    validation: ClipSet
    options: Hyperparameters


class LearnedTogether(NamedTuple):
    """The result of a training together.

    Attributes:
        epoch: the best by the mean of `accuracies`, from 1.
        accuracies: what each task has on its validation clips after it, in [0, 1].
        metrics: what that is of each task: "accuracy", or "mAP" of tags.
    """

    epoch: int
    accuracies: tuple[float, ...]
    metrics: tuple[str, ...]


def train_together(
    learners: Sequence[Learner],
    shared: Mapping[str, Tensor],
    options: Hyperparameters,
    progress: Progress = silent,
    stop: Stop = never,
) -> LearnedTogether:
    """Train the tensors `shared`, which all the models read, in place, together with the models.

    Args:
        options: epochs, learning rate, optimiser and seed; all else is of each learner's own options.
        stop: asked after each step. Where it returns True, the training ends with the best epoch so far.

    Raises:
        TrainingError: the loss is no longer a number, there is no whole epoch, or the device's memory is full.
        AudioError: a clip cannot be read.
    """
    device = learners[0].model.backbone.device
    for one in learners:
        one.training.load("reading training clips", progress)
        one.validation.load("reading validation clips", progress)
    tensors = [*shared.values(), *(tensor for one in learners for tensor in one.model.trainable())]
    most = max(one.options.batch_size for one in learners)
    with full_memory_named(device, most), seeded(options.seed, device), trainable(tensors):
        optimiser = adamw(tensors, options, options.learning_rate)
        return _Together(learners, shared, optimiser, progress).epochs(options, stop)


class _Together:
    """The states and the steps of all tasks, with the one optimiser of all their tensors."""

    def __init__(
        self,
        learners: Sequence[Learner],
        shared: Mapping[str, Tensor],
        optimiser: torch.optim.Optimizer,
        progress: Progress,
    ) -> None:
        self._learners = learners
        self._shared = shared
        self._optimiser = optimiser
        self._progress = progress
        self._validation: list[CachedStates] = []
        self._steps: list[Steps] = []
        for model, training, validation, options in learners:
            forward = SplitForward(model, options.precision)
            states = CachedStates(training, forward, augmentation(model, options))
            states.load("running the frozen layers over training clips", progress)
            self._validation.append(CachedStates(validation, forward))
            self._validation[-1].load("running the frozen layers over validation clips", progress)
            labelling, labels = model.settings.labelling, len(model.settings.labels)
            device = model.backbone.device
            weights = weights_of(options.class_weights, labelling, training.targets, labels, device)
            if options.head == "probe":
                linear_probe.start(CachedStates(training, forward), progress, weights=weights)
            # Not recorded, since a recorded step would keep the optimiser's work for one task's tensors.
            self._steps.append(Steps(states, optimiser, labelling.loss(weights), record=False))

    def epochs(self, options: Hyperparameters, stop: Stop) -> LearnedTogether:
        """Train all epochs, and leave the best shared tensors in place."""
        sizes = [one.options.batch_size for one in self._learners]
        counts = [len(one.training) for one in self._learners]
        taken = sum(-(-count // size) for count, size in zip(counts, sizes, strict=True))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimiser, options.epochs * taken)
        metrics = tuple(one.model.settings.labelling.metric for one in self._learners)
        best, state = LearnedTogether(0, (), metrics), dict[str, Tensor]()
        for epoch in range(1, options.epochs + 1):
            if not self._epoch(epoch, options.epochs, schedule, stop):
                break
            accuracies = tuple(measured(states, epoch)[0] for states in self._validation)
            if sum(accuracies) > sum(best.accuracies) or not state:
                best = LearnedTogether(epoch, accuracies, metrics)
                state = {name: tensor.detach().clone() for name, tensor in self._shared.items()}
        if not state:
            raise TrainingError("the training was stopped before its first epoch was over; there is no shared part yet")
        with torch.no_grad():
            for name, tensor in self._shared.items():
                tensor.copy_(state[name])
        return best

    def _epoch(self, epoch: int, epochs: int, schedule: torch.optim.lr_scheduler.LRScheduler, stop: Stop) -> bool:
        """Train one epoch. Return False where it was stopped."""
        batches: list[tuple[int, list[int]]] = []
        for task, learner in enumerate(self._learners):
            order = torch.randperm(len(learner.training)).tolist()
            parts = chunks(len(order), learner.options.batch_size)
            batches += [(task, order[part.start : part.stop]) for part in parts]
        loss_sum, seen = torch.zeros((), device=self._learners[0].model.backbone.device), 0
        with ExitStack() as stack:
            for learner in self._learners:
                stack.enter_context(learner.model.adapter.training_mode())
            for done, index in enumerate(torch.randperm(len(batches)).tolist(), 1):
                task, batch = batches[index]
                loss_sum += self._steps[task].take(batch).loss * len(batch)
                seen += len(batch)
                schedule.step()
                if done % REPORT_EVERY == 0 or done == len(batches):
                    note, position = f"epoch {epoch}/{epochs}", (epoch - 1) * len(batches) + done
                    self._progress(Step("training", position, epochs * len(batches), note, float(loss_sum) / seen))
                if stop():
                    return False
        return True
