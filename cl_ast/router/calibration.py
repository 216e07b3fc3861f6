"""Conformal p-values: the share of a task's own clips that fit the task no better than a given clip.

Vovk, Gammerman & Shafer 2005 (split conformal). For n clips of a task that its state was not learned from, and one more
that is exchangeable with them, P(p <= i/100) <= i/100 whatever the distribution. The 101 stored numbers are the order
statistics from which p follows. With n < 19 clips no clip can be rejected at 5 % with this guarantee; a clip that fits
worse than all n is then rejected, which happens to one in n + 1 clips of the task.
"""

import math
from functools import cache

import torch
from torch import Tensor

from cl_ast.errors import CorruptRegistryError, RegistryError

ALPHA = 0.05
"""The usual limit: a clip with a lower p-value is unknown. So clips of a task are unknown at most this often."""
LOWEST = -3.0  # less than any fit, which is in [-2, 1], and than any confidence
_STEPS = 100
_FIRST_FIT = round(ALPHA * _STEPS)  # the statistics from here on are never `LOWEST`
# The ranges of what is calibrated. Cosines of whole numbers are exact, and so a little beyond 1.
_FITS = -2.01, 1.01
_CONFIDENCES = -1.01, 0.01
UNCALIBRATED = torch.zeros(_STEPS + 1)
"""Stands for the calibration of a head's confidence where there was no clip; no answer is then more confident."""


def calibrate(fits: Tensor) -> Tensor:
    """Return 101 rising order statistics, of rank floor(i (n + 1) / 100), of the fits (n,) of unseen clips, n > 0."""
    padded = torch.cat([torch.tensor([LOWEST]), fits.float().sort().values])
    return padded[_ranks(len(fits))]


def p_values(calibration: Tensor, fits: Tensor) -> Tensor:
    """Return the p-values of fits (n,), rounded down to hundredths, in float64: each is the number that is printed.

    Args:
        calibration: the order statistics (101,) from `calibrate`.
    """
    return torch.searchsorted(calibration[1:].contiguous(), fits.contiguous(), right=True).double() / _STEPS


def lowest_p(calibration: Tensor) -> float:
    """Return the lowest p-value that any clip can have; with fewer than 99 clips it is over 0."""
    return float(p_values(calibration, torch.tensor([LOWEST])))


def checked_alpha(alpha: float) -> float:
    """Return a limit for "unknown". Raises RegistryError for anything but 0, 0.01, 0.02, … 1, as p-values are."""
    number = alpha if isinstance(alpha, int | float) and not isinstance(alpha, bool) else math.nan
    if not 0 <= number <= 1 or abs(number * _STEPS - round(number * _STEPS)) > 1e-6:
        raise RegistryError(
            f'a limit for "unknown" is 0 (nothing is unknown), 0.01, 0.02 and so on up to 1, and not {alpha!r:.40}'
        )
    return round(number * _STEPS) / _STEPS


def check_fits(calibration: Tensor) -> None:
    """Raise CorruptRegistryError unless `calibrate` can have returned these numbers for fits of clips that differ."""
    _check(calibration, *_FITS)
    if calibration[_FIRST_FIT] == calibration[-1]:
        raise CorruptRegistryError("the calibration of the task is constant, which that of different clips never is")


def check_confidence(calibration: Tensor) -> None:
    """Raise CorruptRegistryError unless `calibrate` can have returned these numbers for the confidence of a head."""
    if not torch.equal(calibration, UNCALIBRATED):
        _check(calibration, *_CONFIDENCES)


def _check(calibration: Tensor, lowest: float, highest: float) -> None:
    """Raise CorruptRegistryError for numbers that `calibrate` cannot return for values from `lowest` to `highest`.

    What it returns is 101 numbers in single precision that never fall. The first is `LOWEST`, which may be repeated up
    to the fifth; all others are in the range. For some number of clips, every two statistics of one rank are equal.
    """
    if calibration.dtype != torch.float32 or calibration.shape != (_STEPS + 1,):
        raise CorruptRegistryError("the routing of the task has other shapes or types than this cl-ast's")
    below = calibration == LOWEST
    in_range = (calibration >= lowest) & (calibration <= highest)  # False for NaN
    steps = calibration.diff()
    without_value, equal = _patterns()
    of_some_count = (below == without_value).all(dim=1) & ((steps == 0) | ~equal).all(dim=1)
    if not bool((below | in_range).all() and (steps >= 0).all() and of_some_count.any()):
        raise CorruptRegistryError("the calibration of the task cannot come from clips: it would draw others to it")


def _ranks(count: int) -> Tensor:
    """Return the ranks (101,) of the statistics of `count` values; 0 stands for `LOWEST`."""
    ranks = torch.arange(_STEPS + 1) * (count + 1) // _STEPS
    ranks[_FIRST_FIT:].clamp_(min=1)
    return ranks.clamp_max(count)


@cache
def _patterns() -> tuple[Tensor, Tensor]:
    """Return, for 1 to 100 clips, which statistics are `LOWEST` (100, 101) and which equal the next one (100, 100).

    With more than 100 clips the pattern is that of 100, since all ranks differ.
    """
    ranks = torch.stack([_ranks(count) for count in range(1, _STEPS + 1)])
    return ranks == 0, ranks.diff(dim=1) == 0
