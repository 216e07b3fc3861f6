"""Weights of the labels in the loss of a training, by which those with few clips may have more."""

import torch
from torch import Tensor

from cl_ast.tasks.label_kinds import LabelKind


def weights_of(
    wanted: str, labelling: LabelKind, targets: Tensor, labels: int, device: torch.device | str = "cpu"
) -> Tensor | None:
    """Return the weight of each label (labels,), or None where all labels weigh the same.

    The weight is inversely proportional to the number of training clips. Its mean over the labels of the training clips
    is 1, so that the loss is as large as without weights and the same learning rates fit. A label without clips has
    weight 0.

    Args:
        wanted: one of `CLASS_WEIGHTS`.
        targets: of the training clips.
        labels: how many there are.
        device: where the weights are used.
    """
    if wanted == "none":
        return None
    counts = labelling.shares(targets, labels).sum(dim=0)
    present = counts > 0
    return torch.where(present, counts.sum() / (present.sum() * counts.clamp_min(1)), counts).to(device)
