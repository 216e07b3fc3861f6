"""The loss of a training: cross-entropy, in which classes with few clips may have more weight."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps logits (batch, classes) and targets, indices (batch,) or shares (batch, classes), to the loss of the batch."""


def weights_of(kind: str, targets: Tensor, classes: int, device: torch.device | str = "cpu") -> Tensor | None:
    """Return the weight of each class (classes,), or None where all classes weigh the same.

    The weight is inversely proportional to the number of training clips. Its mean over the training clips is 1, so that
    the loss is as large as without weights and the same learning rates fit. A class without clips has weight 0.

    Args:
        kind: one of `CLASS_WEIGHTS`.
        targets: (n,), the classes of the training clips.
        device: where the weights are used.
    """
    if kind == "none":
        return None
    counts = torch.bincount(targets, minlength=classes).float()
    present = counts > 0
    return torch.where(present, len(targets) / (present.sum() * counts.clamp_min(1)), counts).to(device)


def loss_with(weights: Tensor | None) -> Loss:
    """Return the mean cross-entropy over a batch in which each clip has the weight of its class.

    It is not divided by the weights of the batch, so that the mean over batches is the mean over clips.
    """
    if weights is None:
        return F.cross_entropy

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, weight=weights, reduction="none").mean()

    return loss


def classes_in(targets: Tensor) -> Tensor:
    """Return the class (batch,) of each clip; of one that was mixed of two, the class with the larger share."""
    return targets if targets.ndim == 1 else targets.argmax(dim=-1)
