"""Splits records by whole speakers, so that no speaker is in two splits. These functions touch no file.

Each function draws up to 64 random orders of the speakers and takes the first split that is good enough, or else
the best one. The first aim is that train has every class. The second is that the other splits have every class, and
the third is that their sizes are right.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from streams.records import Record, Splits
from streams.split import SHARE, seeded_random, sorted_by_path

ATTEMPTS = 64

CLOSE_ENOUGH = 0.1
"""How far the share of a held-out split may be off for a draw to be taken at once."""

_Counts = dict[str, Counter[str]]
_Parts = tuple[set[str], ...]


def split_by_speaker(records: Sequence[Record], seed: int) -> Splits:
    """Split the records of three or more speakers into about 70% train, 15% validation and 15% test.

    A split stays empty if no speaker can be spared for it, because train must keep every class.
    """
    counts = _clips_per_speaker(records)
    target = SHARE * sum(len(r.labels) for r in records)

    def choose(order: list[str]) -> _Parts:
        test = _pick_speakers(order, counts, target, keep=2)
        others = [speaker for speaker in order if speaker not in test]
        return _pick_speakers(others, counts, target, keep=1), test

    validation, test = _best_draw(counts, seed, choose)
    return Splits(
        sorted_by_path(r for r in records if r.speaker not in validation | test),
        sorted_by_path(r for r in records if r.speaker in validation),
        sorted_by_path(r for r in records if r.speaker in test),
    )


def hold_out_speakers(records: Sequence[Record], seed: int) -> tuple[list[Record], list[Record]] | None:
    """Return train and validation, or None if train would lose a class with any speaker that is held out."""
    counts = _clips_per_speaker(records)
    target = SHARE * sum(len(r.labels) for r in records)
    (validation,) = _best_draw(counts, seed, lambda order: (_pick_speakers(order, counts, target, keep=1),))
    if not validation:
        return None
    return (
        sorted_by_path(r for r in records if r.speaker not in validation),
        sorted_by_path(r for r in records if r.speaker in validation),
    )


def _clips_per_speaker(records: Iterable[Record]) -> _Counts:
    """Return how many clips of each label each speaker has. The speakers are sorted."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for r in records:
        counts[r.speaker].update(r.labels)
    return dict(sorted(counts.items()))


def _pick_speakers(order: Sequence[str], counts: _Counts, target: float, keep: int) -> set[str]:
    """Pick speakers who have about `target` clips together. Every class and at least `keep` speakers are left."""
    left = sum((counts[speaker] for speaker in order), Counter[str]())
    picked: set[str] = set()
    size = 0
    for speaker in order:
        n = counts[speaker].total()
        nearer = not picked or abs(size + n - target) < abs(size - target)
        covered = all(left[label] > clips for label, clips in counts[speaker].items())
        if nearer and covered and len(order) - len(picked) > keep:
            picked.add(speaker)
            size += n
            left -= counts[speaker]
    return picked


def _best_draw(counts: _Counts, seed: int, choose: Callable[[list[str]], _Parts]) -> _Parts:
    rng = seeded_random(seed, "speakers")
    draws: list[tuple[tuple[int, float], _Parts]] = []
    for _ in range(ATTEMPTS):
        order = list(counts)
        rng.shuffle(order)
        parts = choose(order)
        missing, off = _cost(parts, counts)
        if missing == 0 and off <= CLOSE_ENOUGH * len(parts):
            return parts
        draws.append(((missing, round(off, 6)), parts))
    return min(draws, key=lambda draw: draw[0])[1]


def _cost(parts: _Parts, counts: _Counts) -> tuple[int, float]:
    """Return how many classes the parts lack (an empty part lacks all) and how far their sizes are off, as shares."""
    everything = sum(counts.values(), Counter[str]())
    labels = [sum((counts[speaker] for speaker in part), Counter[str]()) for part in parts]
    missing = sum(len(everything) - len(part) for part in labels)
    return missing, sum(abs(part.total() / everything.total() - SHARE) for part in labels)
