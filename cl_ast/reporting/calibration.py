"""Compares the probabilities of answers with how often the answers are right."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cl_ast.evaluation.accuracy import Outcome
from cl_ast.evaluation.details import Share

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """The test clips whose answer has a probability of over `low` and at most `high`.

    Attributes:
        right: how many of them are answered rightly by name.
        probability: the mean probability of their answers.
    """

    low: float
    high: float
    right: Share
    probability: float


def reliability(outcomes: Sequence[Outcome]) -> list[Bin]:
    """Return the bins of equal width that have clips, the lowest probability first."""
    members: dict[int, list[Outcome]] = {}
    for one in outcomes:
        place = min(BINS - 1, max(0, math.ceil(one.probability * BINS) - 1))
        members.setdefault(place, []).append(one)
    found = []
    for place, own in sorted(members.items()):
        right = Share(sum(one.predicted == one.label for one in own), len(own))
        mean = sum(one.probability for one in own) / len(own)
        found.append(Bin(place / BINS, (place + 1) / BINS, right, mean))
    return found


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """Return the expected calibration error: the mean of |accuracy - probability|, weighted by clips.

    Guo et al. 2017, On calibration of modern neural networks. It is a fraction in [0, 1]; None where there is no clip.
    """
    clips = sum(one.right.clips for one in bins)
    if not clips:
        return None
    return sum(abs(one.right.right - one.right.clips * one.probability) for one in bins) / clips
