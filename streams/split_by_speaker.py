"""Pure functions that split records by whole speakers, so that no voice is on two sides.

Each takes the first good one of a few seeded draws, or else the best: every class in train comes first, then
every class in what is held out, then the sizes.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from streams.split import SHARE, in_order, seeded
from streams.task import Record, Splits

ATTEMPTS = 64
CLOSE_ENOUGH = 0.1

_Counts = dict[str, Counter[str]]
_Parts = tuple[set[str], ...]


def by_speaker(records: Sequence[Record], seed: int) -> Splits:
    """About 70/15/15 of the clips, from three speakers or more.

    A split stays empty where no speaker can be spared: every class must keep one to train on.
    """
    counts = _counts(records)
    target = SHARE * len(records)

    def deal(order: list[str]) -> _Parts:
        test = _hold_out(order, counts, target, spare=2)
        rest = [speaker for speaker in order if speaker not in test]
        return _hold_out(rest, counts, target, spare=1), test

    validation, test = _best_draw(counts, seed, deal)
    return Splits(
        in_order(r for r in records if r.speaker not in validation | test),
        in_order(r for r in records if r.speaker in validation),
        in_order(r for r in records if r.speaker in test),
    )


def carve_speakers(records: Sequence[Record], seed: int) -> tuple[list[Record], list[Record]] | None:
    """Train and validation, or None where any speaker held out would take a class from train."""
    counts = _counts(records)
    target = SHARE * len(records)
    (held,) = _best_draw(counts, seed, lambda order: (_hold_out(order, counts, target, spare=1),))
    if not held:
        return None
    return in_order(r for r in records if r.speaker not in held), in_order(r for r in records if r.speaker in held)


def _counts(records: Iterable[Record]) -> _Counts:
    """How many clips of each label each speaker has, speakers in order."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for r in records:
        counts[r.speaker][r.label] += 1
    return dict(sorted(counts.items()))


def _hold_out(order: Sequence[str], counts: _Counts, target: float, spare: int) -> set[str]:
    """Speakers with about that many clips together; `spare` of them are left, and with them every class."""
    left = sum((counts[speaker] for speaker in order), Counter[str]())
    held: set[str] = set()
    size = 0
    for speaker in order:
        n = counts[speaker].total()
        nearer = not held or abs(size + n - target) < abs(size - target)
        covered = all(left[label] > clips for label, clips in counts[speaker].items())
        if nearer and covered and len(order) - len(held) > spare:
            held.add(speaker)
            size += n
            left -= counts[speaker]
    return held


def _best_draw(counts: _Counts, seed: int, deal: Callable[[list[str]], _Parts]) -> _Parts:
    rng = seeded(seed, "speakers")
    draws: list[tuple[tuple[int, float], _Parts]] = []
    for _ in range(ATTEMPTS):
        order = list(counts)
        rng.shuffle(order)
        parts = deal(order)
        missing, off = _cost(parts, counts)
        if missing == 0 and off <= CLOSE_ENOUGH * len(parts):
            return parts
        draws.append(((missing, round(off, 6)), parts))
    return min(draws, key=lambda draw: draw[0])[1]


def _cost(parts: _Parts, counts: _Counts) -> tuple[int, float]:
    """How many classes are missing (an empty part misses all), and how far the sizes are off."""
    everything = sum(counts.values(), Counter[str]())
    held = [sum((counts[speaker] for speaker in part), Counter[str]()) for part in parts]
    missing = sum(len(everything) - len(part) for part in held)
    return missing, sum(abs(part.total() / everything.total() - SHARE) for part in held)
