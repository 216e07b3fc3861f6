"""Fits the temperature of a task, so that its probabilities are as often right as they say.

Guo et al. 2017, On calibration of modern neural networks: the logits are divided by one number, which is fitted to
validation clips. It changes no order, and so no label and no mean average precision.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from cl_ast.tasks.kind_names import CLASSES
from cl_ast.tasks.label_kinds import KINDS, LabelKind
from registry.limits import TEMPERATURES

_STEPS = 60  # of a bisection, after which double precision leaves nothing to halve


def fit(logits: Tensor, targets: Tensor, labelling: LabelKind = KINDS[CLASSES]) -> float:
    """Return the temperature of least mean loss of validation clips, within bounds.

    Few clips cannot show that an answer is nearly certain. So the logits are made no larger than where the mean of the
    best probabilities is (n + 1) / (n + 2), the expected accuracy where all of n decisions are right (Laplace's rule).
    A class is one decision a clip, and each tag is one.

    Args:
        logits: (clips, labels).
        targets: of the clips, as the kind of labels has them.
    """
    logits, (least, most) = logits.double(), TEMPERATURES
    if not len(targets) or not torch.isfinite(logits).all():
        return 1.0
    own = (labelling.shares(targets, logits.shape[1]) * logits).sum(dim=1).mean()
    decisions = len(labelling.certainties(logits))
    ceiling = (decisions + 1) / (decisions + 2)

    def slope(scale: float) -> float:
        """Return the derivative of the mean loss by the scale of the logits; it rises."""
        return float((labelling.probabilities(logits * scale) * logits).sum(dim=1).mean() - own)

    def excess(scale: float) -> float:
        """Return by how much the mean of the best probabilities is above the ceiling; it rises."""
        return float(labelling.certainties(labelling.probabilities(logits * scale)).mean()) - ceiling

    scale = _root(slope, 1 / most, 1 / least)
    if scale > 1:
        scale = max(1.0, min(scale, _root(excess, 1 / most, 1 / least)))
    return min(most, max(least, 1 / scale))


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function is zero, or the nearer end of the range."""
    for _ in range(_STEPS):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return high
