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

    Where all clips were right in every training, or none was, all draws would be the same, as if ten clips said as much
    as a thousand. There the accuracies are drawn from the posterior of a share with Jeffreys' prior, Beta(1/2, 1/2)
    (Brown, Cai and DasGupta, 2001).

    Args:
        folds: for every fold which clips were right, (trainings, clips); neither is 0.
    """
    generator = np.random.default_rng(seed)
    right, wrong = any(fold.any() for fold in folds), not all(fold.all() for fold in folds)
    if not (right and wrong):
        clips = sum(fold.shape[1] for fold in folds)
        return generator.beta(0.5 + clips * right, 0.5 + clips * wrong, RESAMPLES)
    return np.average(
        [_drawn(right, generator) for right in folds], axis=0, weights=[len(right) for right in folds]
    )  # fmt: skip


def interval(accuracies: NDArray[np.float64], accuracy: float) -> Interval:
    """Return the middle 95 % of resampled accuracies, with the accuracy of the real clips, which may be at its end."""
    low, high = np.quantile(accuracies, [0.025, 0.975])
    return min(float(low), accuracy), max(float(high), accuracy)


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
