"""Takes the steps of a training: forward pass, loss, backward pass and update.

On a GPU the kernels of a step are short, and launching them one by one would take longer than they run. After a few
steps, one is recorded as a CUDA graph, and from then on it is replayed, each time with the next batch.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cl_ast.progress import ClAstWarning
from cl_ast.tasks.label_kinds import Loss
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.cached_states import CachedStates
from cl_ast.training.options import Hyperparameters
from cl_ast.wording import first_line

_WARM_UP = 3  # steps before one is recorded: libraries choose their kernels, and a compiled pass is compiled


class Learned(NamedTuple):
    """The loss of a step, its logits (batch, labels) and the clips' targets as they were trained on, on the device."""

    loss: Tensor
    logits: Tensor
    targets: Tensor


def optimiser_of(model: TaskModel, options: Hyperparameters) -> torch.optim.Optimizer:
    """Return AdamW for the tensors of a task.

    Its weight decay pulls some tensors to their anchors (`Adapter.anchors`), and all others to zero.
    """
    anchors = model.adapter.anchors()
    anchored = [tensor for tensor, _ in anchors]
    others = [one for one in model.trainable() if not any(one is tensor for tensor in anchored)]
    optimiser = adamw(others, options, options.learning_rate or model.settings.method.learning_rate)
    if not anchors:
        return optimiser
    optimiser.add_param_group({"params": anchored, "weight_decay": 0.0})

    def pull(*_: Any) -> None:
        with torch.no_grad():
            for tensor, anchor in anchors:
                tensor.lerp_(anchor, optimiser.param_groups[0]["lr"] * options.weight_decay)

    optimiser.register_step_pre_hook(pull)
    return optimiser


def adamw(tensors: Sequence[Tensor], options: Hyperparameters, learning_rate: float) -> torch.optim.Optimizer:
    """Return AdamW for tensors of one device, in the form in which its steps can be recorded."""
    on_gpu = tensors[0].device.type == "cuda"
    return torch.optim.AdamW(
        tensors,
        lr=learning_rate,
        betas=(options.beta1, options.beta2),
        eps=options.epsilon,
        weight_decay=options.weight_decay,
        fused=on_gpu,
        capturable=on_gpu,
    )


class Steps:
    """Takes steps with an optimiser over batches of states at the cut.

    A step is recorded for the shape of the first batch, and compiled for no other: the last, shorter batch of an epoch
    is run as it is.
    """

    def __init__(
        self,
        states: CachedStates,
        optimiser: torch.optim.Optimizer,
        loss: Loss | None = None,
        *,
        record: bool | None = None,
    ) -> None:
        """
        Args:
            loss: of logits and targets; by default that of the task, in which all labels weigh the same.
            record: whether a step is recorded and replayed; by default on a GPU, in a training of one process.
        """
        self._states = states
        self._model = states.forward.model
        self._optimiser = optimiser
        self._loss = loss or self._model.settings.labelling.loss(None)
        on_gpu = self._model.backbone.device.type == "cuda"
        self._record = on_gpu and states.group.size == 1 if record is None else record
        self._taken = 0
        self._shape: torch.Size | None = None
        self._recorded: _Recorded | None = None
        self._stream: torch.cuda.Stream | None = None

    def take(self, indices: Sequence[int]) -> Learned:
        """Take one step over these clips; return what it gave, without waiting for it.

        What is returned is overwritten by the next step.

        Where several processes train together, the result is of this process's share, and the step is of all.
        """
        inputs, targets = self._states.batch(indices)
        self._shape = self._shape or inputs.shape
        usual = inputs.shape == self._shape
        if not (usual and self._record):
            return self._update(inputs, targets, len(indices), usual=usual)
        if self._recorded is None:
            self._stream = self._stream or torch.cuda.Stream(inputs.device)  # type: ignore[no-untyped-call]
            if self._taken < _WARM_UP:
                self._taken += 1
                return self._beside(inputs, targets)
            self._recorded = self._recording(inputs, targets)
            if self._recorded is None:
                return self._update(inputs, targets, len(indices), usual=True)
        return self._recorded.replay(inputs, targets, self._rates())

    def _update(self, inputs: Tensor, targets: Tensor, rows: int, *, usual: bool) -> Learned:
        """Take one step over states and targets.

        Args:
            rows: how many clips the batches of all processes have together.
            usual: whether the batch has the shape that steps are compiled for.
        """
        model, group, forward = self._model, self._states.group, self._states.forward
        with model.backbone.precision(forward.kind):
            logits = forward.learn(inputs) if usual else forward.above(inputs)
            loss = self._loss(logits.float(), targets)
        penalty = model.adapter.penalty()
        self._optimiser.zero_grad(set_to_none=True)
        whole = loss if penalty is None else loss + penalty
        # The weight comes before the backward pass, because a BatchNorm's gradients come from the losses of all
        # processes.
        weighted = whole * group.weight(rows) if group.size > 1 else whole
        weighted.backward()  # type: ignore[no-untyped-call]
        group.add_gradients(model.trainable())
        self._optimiser.step()
        return Learned(loss.detach(), logits.detach(), targets)

    def _beside(self, inputs: Tensor, targets: Tensor) -> Learned:
        """Take a step on the stream on which one will be recorded, as CUDA graphs need it."""
        assert self._stream is not None
        now = torch.cuda.current_stream(inputs.device)
        self._stream.wait_stream(now)
        with torch.cuda.stream(self._stream):
            learned = self._update(inputs, targets, len(targets), usual=True)
        now.wait_stream(self._stream)
        for tensor in (inputs, *learned):
            tensor.record_stream(self._stream)
        return learned

    def _recording(self, inputs: Tensor, targets: Tensor) -> "_Recorded | None":
        """Record a step; recording takes none. Return None where a method does what cannot be recorded."""
        assert self._stream is not None
        inputs, targets = inputs.clone(), targets.clone()
        rates = [torch.zeros((), device=inputs.device) for _ in self._optimiser.param_groups]
        graph = torch.cuda.CUDAGraph()
        self._optimiser.zero_grad(set_to_none=True)
        try:
            # "thread_local", because the next batch is copied in another thread meanwhile.
            recording = torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local")
            with self._rates_are(rates), recording:
                learned = self._update(inputs, targets, len(targets), usual=True)
        except RuntimeError as error:
            self._record = False
            reason = first_line(error)[:200]
            message = f"the training goes on with its steps one by one, because none could be recorded: {reason}"
            warnings.warn(message, ClAstWarning, stacklevel=2)
            return None
        return _Recorded(graph, inputs, targets, rates, learned)

    def _rates(self) -> list[float]:
        return [float(group["lr"]) for group in self._optimiser.param_groups]

    @contextmanager
    def _rates_are(self, rates: Sequence[Tensor]) -> Iterator[None]:
        """Let the optimiser read its learning rates from the device, where a recorded step finds the current ones."""
        before = self._rates()
        try:
            for group, rate in zip(self._optimiser.param_groups, rates, strict=True):
                group["lr"] = rate
            yield
        finally:
            for group, value in zip(self._optimiser.param_groups, before, strict=True):
                group["lr"] = value


class _Recorded:
    """A recorded step, and the tensors that it reads and writes."""

    def __init__(
        self, graph: torch.cuda.CUDAGraph, inputs: Tensor, targets: Tensor, rates: Sequence[Tensor], learned: Learned
    ) -> None:
        self._graph = graph
        self._inputs = inputs
        self._targets = targets
        self._rates = rates
        self._learned = learned

    def replay(self, inputs: Tensor, targets: Tensor, rates: Sequence[float]) -> Learned:
        """Take the step with another batch and the current learning rates."""
        self._inputs.copy_(inputs)
        self._targets.copy_(targets)
        for rate, value in zip(self._rates, rates, strict=True):
            rate.fill_(value)
        self._graph.replay()
        return self._learned
