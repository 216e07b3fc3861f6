"""Sound event bounding boxes: first where the scores of a class change, and last the threshold.

After Ebbers, Germain, Wichern, Le Roux: Sound Event Bounding Boxes for Polyphonic Sound Event Detection (Interspeech
2024, arXiv 2406.04212), the variant by change points. Their own package is not used, since its licence (AGPL) is not
one that an extra of a library should bring along.
"""

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
MERGE = 0.2  # two candidates are one where the scores between them fall by less; one of the values of the paper


def boxes(scores: Scores, length: int) -> list[tuple[int, int]]:
    """Return the candidates (first, stop) of one class, in cells and in order; no threshold takes part.

    Args:
        scores: (cells,) of the whole recording.
        length: of the step filter, in cells.
    """
    steps = step_filtered(scores, max(1, length // 2))
    edges: list[tuple[int, bool]] = []  # where scores rise and fall, in turn
    for number in np.flatnonzero(steps):
        rises = bool(steps[number] > 0)
        if not edges or edges[-1][1] != rises:
            edges.append((int(number), rises))
        elif abs(steps[number]) > abs(steps[edges[-1][0]]):
            edges[-1] = int(number), rises
    if edges and not edges[0][1]:
        del edges[0]
    if edges and edges[-1][1]:
        edges.append((len(scores), False))
    places = [place for place, _ in edges]
    return _merged(scores, list(zip(places[::2], places[1::2], strict=True)))


def step_filtered(scores: Scores, half: int) -> Scores:
    """Return (cells + 1,): at each border, the mean of `half` cells after it less that of as many before it.

    Before the recording and after it, scores are 0.
    """
    sums = np.concatenate([np.zeros(half + 1), np.cumsum(scores), np.full(half, scores.sum())])
    sums[-half - 1 :] = sums[-half - 1]  # the same sum, and not one that was rounded in another way
    middle = sums[half : half + len(scores) + 1]
    steps: Scores = (sums[2 * half :] - 2 * middle + sums[: len(scores) + 1]) / half
    steps[np.abs(steps) < 1e-9] = 0
    return steps


def _merged(scores: Scores, candidates: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the candidates with those as one between which the scores hardly fall, seen from either of them."""
    found: list[tuple[int, int]] = []
    for first, stop in candidates:
        if found:
            least = scores[found[-1][1] : first].min()
            peaks = scores[slice(*found[-1])].max(), scores[first:stop].max()
            if max(peaks) - least < MERGE:
                found[-1] = found[-1][0], stop
                continue
        found.append((first, stop))
    return found
