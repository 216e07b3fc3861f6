"""How well a clip fits a task, as a share of the task's own clips: conformal p-values from 101 stored numbers.

Vovk, Gammerman & Shafer 2005 (split conformal). For n held-out clips of a task and one more that is exchangeable with
them, P(p <= i/100) <= i/100, whatever the distribution: the stored numbers are the order statistics that decide it.
With n < 19 nothing can be refused at 5 % that strictly; what fits worse than all n is then refused, one in n + 1.
"""

import torch
from torch import Tensor

ALPHA = 0.05  # how often a clip of a known task is called unknown, at most, by construction
LOWEST = -3.0  # under every fit, which is in [-2, 1]
_STEPS = 100


def calibrate(fits: Tensor) -> Tensor:
    """Fits (n,) of held-out clips, at least one, to (101,) rising order statistics: of rank floor(i (n + 1) / 100)."""
    count = len(fits)
    padded = torch.cat([torch.tensor([LOWEST]), fits.float().sort().values])
    ranks = torch.arange(_STEPS + 1) * (count + 1) // _STEPS
    ranks[round(ALPHA * _STEPS) :].clamp_(min=1)
    return padded[ranks.clamp_max(count)]


def p_values(calibration: Tensor, fits: Tensor) -> Tensor:
    """(n,) fits to their p-values in hundredths, rounded down: those under `ALPHA` are no clips of the task."""
    return torch.searchsorted(calibration[1:].contiguous(), fits.contiguous(), right=True) / _STEPS
