"""How far accuracies can be off because other test clips might have been drawn: 95 % intervals by bootstrap."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cl_ast.evaluation.intervals import Interval

Right = NDArray[np.bool_]
"""Which test clips of one fold were right in each of its trainings: (trainings, clips)."""

RESAMPLES = 10_000


def resampled(folds: Sequence[Right], seed: int = 0) -> NDArray[np.float64]:
    """Return the accuracy over `RESAMPLES` draws of as many test clips as there are, with replacement.

    The clips of each fold are drawn from that fold, and all trainings of a fold are tested on the same draw. A draw's
    accuracy is the mean over all trainings, as that of the real clips is. This shows what the choice of the test clips
    does to the accuracy; the deviation over seeds shows what the chance in a training does.

    Args:
        folds: for every fold which clips were right, (trainings, clips); neither is 0.
    """
    generator = np.random.default_rng(seed)
    return np.average(
        [_drawn(right, generator) for right in folds], axis=0, weights=[len(right) for right in folds]
    )  # fmt: skip


def interval(accuracies: NDArray[np.float64]) -> Interval:
    """Return the middle 95 % of resampled accuracies."""
    low, high = np.quantile(accuracies, [0.025, 0.975])
    return float(low), float(high)


def ranks(intervals: Sequence[Interval]) -> list[int | None]:
    """Return the rank of each: one more than how many intervals lie wholly above its own.

    Where no two intervals part, nothing can be ranked, and all are None.
    """
    found = [1 + sum(low > high for low, _ in intervals) for _, high in intervals]
    return list(found) if max(found, default=1) > 1 else [None] * len(found)


def _drawn(right: Right, generator: np.random.Generator) -> NDArray[np.float64]:
    # Clips that were right in as many trainings are the same to a draw, so that only their numbers are drawn.
    shares, counts = np.unique(right.mean(axis=0), return_counts=True)
    clips = right.shape[1]
    drawn = generator.multinomial(clips, counts / clips, size=RESAMPLES)
    means: NDArray[np.float64] = drawn @ shares / clips
    return means
