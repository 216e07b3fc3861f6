"""Two tasks nearly as near: both heads are asked, and the one that is more_confident, for it, is believed."""

from collections.abc import Mapping

import torch
from torch import Tensor

from cl_ast.router.calibration import calibrate, p_values

# How much the best may lead by and still be asked together with the second; chosen on validation clips.
MARGINS: Mapping[str, float] = {"discriminant": 0.9, "prototypes": 0.05, "ridge": 0.2}


def sureness(logits: Tensor) -> Tensor:
    """Logits (n, classes) to minus their entropy as a share of the largest there is: (n,) in [-1, 0]."""
    chances = logits.float().softmax(dim=1)
    entropy = -(chances * chances.clamp_min(1e-12).log()).sum(dim=1)
    return -entropy / max(1e-6, float(torch.tensor(logits.shape[1]).log()))


def calibrated(logits: Tensor) -> Tensor:
    """What a task keeps of how sure its head is of validation clips (n, classes): (101,) order statistics."""
    return calibrate(sureness(logits)) if len(logits) else torch.zeros(101)


def more_confident(first: Tensor, second: Tensor, calibrations: tuple[Tensor, Tensor]) -> bool:
    """Whether the second head is more_confident of a clip than the first, each by its own standards.

    Args:
        first, second: logits (classes,) of the nearest task and of its runner_up.
        calibrations: what each keeps, from `calibrated`.
    """
    mine, other = (
        p_values(own, sureness(logits[None])).item() for logits, own in zip((first, second), calibrations, strict=True)
    )
    return other > mine
