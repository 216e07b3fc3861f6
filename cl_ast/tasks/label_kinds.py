"""The two kinds of labels that a task can have, as data: what a head's outputs mean, how it is trained and measured.

classes   exactly one label is true of a clip: softmax, cross-entropy, accuracy
tags      any number of labels are true of a clip, each on its own: sigmoid, binary cross-entropy, mAP
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.tasks.kind_names import ACCURACY, CLASSES, MAP, TAGS
from cl_ast.tasks.tag_metrics import mean_average_precision

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps logits (batch, labels) and targets, indices (batch,) or shares (batch, labels), to the loss of the batch."""


class LabelKind(Protocol):
    """What depends on whether a clip has one label or several.

    Targets are what `targets` returns; `shares` gives both kinds of them one form, (n, labels).

    Attributes:
        name: one of `KINDS`, as files have it.
        activation: the name of the function that `probabilities` applies.
        metric: the name of what `measure` returns.
    """

    @property
    def name(self) -> str: ...

    @property
    def activation(self) -> str: ...

    @property
    def metric(self) -> str: ...

    def targets(self, clips: Sequence[Sequence[str]], labels: Sequence[str]) -> Tensor:
        """Return the targets of clips, given the labels of each; labels that the task does not have are left out."""
        ...

    def shares(self, targets: Tensor, labels: int) -> Tensor:
        """Return how far each label is true of each clip (n, labels), from 0 to 1."""
        ...

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probability of each label (…, labels) for calibrated logits."""
        ...

    def certainties(self, probabilities: Tensor) -> Tensor:
        """Return the probability (n,) of each decision that follows from probabilities (clips, labels)."""
        ...

    def loss(self, weights: Tensor | None) -> Loss:
        """Return the mean loss over a batch, in which labels have these weights (labels,); None for equal ones.

        It is not divided by the weights of the batch, so that the mean over batches is the mean over clips.
        """
        ...

    def right(self, logits: Tensor, targets: Tensor) -> Tensor | None:
        """Return how many clips of a training batch are right; None where that cannot be said of a clip."""
        ...

    def measure(self, logits: Tensor, targets: Tensor) -> float:
        """Return the metric over clips, in [0, 1]."""
        ...


class _Classes:
    name = CLASSES
    activation = "softmax"
    metric = ACCURACY

    def targets(self, clips: Sequence[Sequence[str]], labels: Sequence[str]) -> Tensor:
        index = {label: position for position, label in enumerate(labels)}
        return torch.tensor([index[label] for (label,) in clips], dtype=torch.long)

    def shares(self, targets: Tensor, labels: int) -> Tensor:
        return F.one_hot(targets, labels).float()

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=-1)

    def certainties(self, probabilities: Tensor) -> Tensor:
        return probabilities.amax(dim=1)

    def loss(self, weights: Tensor | None) -> Loss:
        if weights is None:
            return F.cross_entropy
        return lambda logits, targets: F.cross_entropy(logits, targets, weight=weights, reduction="none").mean()

    def right(self, logits: Tensor, targets: Tensor) -> Tensor | None:
        # Of a clip that was mixed of two, the class with the larger share counts.
        classes = targets if targets.ndim == 1 else targets.argmax(dim=-1)
        return (logits.argmax(dim=-1) == classes).sum()

    def measure(self, logits: Tensor, targets: Tensor) -> float:
        return int((logits.argmax(dim=-1) == targets).sum()) / len(targets)


class _Tags:
    name = TAGS
    activation = "sigmoid"
    metric = MAP

    def targets(self, clips: Sequence[Sequence[str]], labels: Sequence[str]) -> Tensor:
        index = {label: position for position, label in enumerate(labels)}
        found = torch.zeros(len(clips), len(labels))
        for row, own in enumerate(clips):
            found[row, [index[label] for label in own if label in index]] = 1
        return found

    def shares(self, targets: Tensor, labels: int) -> Tensor:
        return targets

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def certainties(self, probabilities: Tensor) -> Tensor:
        return torch.maximum(probabilities, 1 - probabilities).flatten()

    def loss(self, weights: Tensor | None) -> Loss:
        # The sum over the tags: each tag is a classifier of its own, whose loss others do not make smaller.
        return lambda logits, targets: (
            F.binary_cross_entropy_with_logits(logits, targets, weight=weights, reduction="none").sum(dim=1).mean()
        )

    def right(self, logits: Tensor, targets: Tensor) -> Tensor | None:
        return None

    def measure(self, logits: Tensor, targets: Tensor) -> float:
        return mean_average_precision(logits.cpu(), targets.cpu())


KINDS: Mapping[str, LabelKind] = MappingProxyType({one.name: one for one in (_Classes(), _Tags())})
"""Both kinds, by name."""
