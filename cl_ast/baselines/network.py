"""What the strategies train: one adapter and one head for all steps, on the frozen backbone."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.baselines.examples import Examples
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training import linear_probe
from cl_ast.training.cached_states import CachedStates, SplitForward
from cl_ast.training.clips import ClipSet


class Network(Protocol):
    """What a strategy trains. Its inputs are those of one `Source`."""

    def logits(self, *inputs: Tensor) -> Tensor:
        """Return the logits (batch, classes) over all classes of the stream."""
        ...

    def vectors(self, *inputs: Tensor) -> Tensor:
        """Return the input (batch, d) of the last linear map."""
        ...

    def trainable(self) -> list[Tensor]:
        """Return the tensors that are trained, in a fixed order."""
        ...

    def training_mode(self) -> AbstractContextManager[None]:
        """Return a context for the steps of a training."""
        ...

    def penalty(self) -> Tensor | None:
        """Return what the network itself adds to every loss, or None."""
        ...

    def start(self, examples: Examples, classes: Tensor) -> None:
        """Prepare the outputs of classes (k,) that are new, from their first clips."""
        ...


class States:
    """The clips of a set as states at the cut below the adapter, which are computed once."""

    def __init__(self, clips: ClipSet, forward: SplitForward) -> None:
        self._states = CachedStates(clips, forward)
        self._states.load("running the frozen layers")

    def inputs(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        return (self._states.batch(rows)[0],)


class AdaptedNetwork:
    """One task's adapter and head, shared by all steps of a stream."""

    def __init__(self, model: TaskModel, precision: str = "auto", *, probe: bool = True) -> None:
        """
        Args:
            model: fresh; its labels are the classes of the whole stream.
            precision: one of `PRECISIONS`.
            probe: whether the outputs of new classes start as a linear probe, as the head of a task does here.
        """
        self.model = model
        self.forward = SplitForward(model, precision)
        self._probe = probe

    def logits(self, *inputs: Tensor) -> Tensor:
        return self.model.decide(self.vectors(*inputs))

    def vectors(self, *inputs: Tensor) -> Tensor:
        (state,) = inputs
        with self.model.backbone.precision(self.forward.kind):
            return self.forward.vectors(state).float()

    def trainable(self) -> list[Tensor]:
        return self.model.trainable()

    def training_mode(self) -> AbstractContextManager[None]:
        return self.model.adapter.training_mode()

    def penalty(self) -> Tensor | None:
        return self.model.adapter.penalty()

    def start(self, examples: Examples, classes: Tensor) -> None:
        if self._probe and len(classes) > 1:
            start_head(self.model.head, examples.gather(self.vectors), examples.targets, classes)

    def source(self, clips: ClipSet) -> States:
        """Return clips as inputs of this network, and of every other with the same method."""
        return States(clips, self.forward)


def start_head(head: dict[str, Tensor], vectors: Tensor, targets: Tensor, classes: Tensor) -> None:
    """Set the rows of some classes (k,) of a head to a linear probe of their clips.

    Args:
        vectors: (n, d), of the clips of these classes, and perhaps of others, which are left out.
        targets: (n,).
    """
    mine = torch.isin(targets, classes)
    weight, bias = linear_probe.fit(
        vectors[mine.to(vectors.device)],
        torch.searchsorted(classes, targets[mine]).to(vectors.device),
        len(classes),
    )
    with torch.no_grad():
        head["head.weight"][classes] = weight
        head["head.bias"][classes] = bias


def probe_accuracy(train: Tensor, train_targets: Tensor, test: Tensor, test_targets: Tensor) -> float:
    """Return the test accuracy of a linear probe of vectors (n, d) of one step's clips."""
    classes = torch.tensor(sorted(set(train_targets.tolist())))
    known = torch.searchsorted(classes, train_targets)
    weight, bias = linear_probe.fit(train, known.to(train.device), len(classes))
    best = classes[F.linear(test, weight, bias).argmax(dim=1).cpu()]
    return float((best == test_targets).float().mean())
