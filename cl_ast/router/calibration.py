"""Conformal p-values: the share of a task's own clips that fit the task no better than a given clip.

Vovk, Gammerman & Shafer 2005 (split conformal). For n clips of a task that its state was not learned from, and one more
that is exchangeable with them, P(p <= i/100) <= i/100 whatever the distribution. The 101 stored numbers are the order
statistics from which p follows. With n < 19 clips no clip can be rejected at 5 % with this guarantee; a clip that fits
worse than all n is then rejected, which happens to one in n + 1 clips of the task.
"""

import torch
from torch import Tensor

ALPHA = 0.05  # clips of a task are called unknown at most this often, which the calibration guarantees
LOWEST = -3.0  # less than any fit, which is in [-2, 1]
_STEPS = 100


def calibrate(fits: Tensor) -> Tensor:
    """Return 101 rising order statistics, of rank floor(i (n + 1) / 100), of the fits (n,) of unseen clips, n > 0."""
    count = len(fits)
    padded = torch.cat([torch.tensor([LOWEST]), fits.float().sort().values])
    ranks = torch.arange(_STEPS + 1) * (count + 1) // _STEPS
    ranks[round(ALPHA * _STEPS) :].clamp_(min=1)
    return padded[ranks.clamp_max(count)]


def p_values(calibration: Tensor, fits: Tensor) -> Tensor:
    """Return the p-values of fits (n,), rounded down to hundredths; below `ALPHA` a clip does not belong to the task.

    Args:
        calibration: the order statistics (101,) from `calibrate`.
    """
    return torch.searchsorted(calibration[1:].contiguous(), fits.contiguous(), right=True) / _STEPS
