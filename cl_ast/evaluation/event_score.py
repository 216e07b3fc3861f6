"""Scores events against a reference: precision, recall and F1 with collars, as sed_eval defines them.

Mesaros, Heittola, Virtanen: Metrics for Polyphonic Sound Event Detection (Applied Sciences, 2016). An event is right if
it has the label of a reference event, begins within the collar of its begin, and ends within the collar, or within a
share of its length if that is more, of its end. Each event counts for one reference event, and the other way round.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cl_ast.errors import ClAstError
from cl_ast.evaluation.event_lists import EventList, Sound

COLLAR = 0.2
"""Seconds."""

SHARE = 0.2
"""Of the length of a reference event; DCASE uses this, sed_eval has 0.5 unless it is told otherwise."""

Matching = Literal["optimal", "greedy"]


@dataclass(frozen=True, slots=True)
class Tally:
    """How many events there are in the reference, how many were found, and how many of these are right."""

    reference: int = 0
    found: int = 0
    right: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.reference + other.reference, self.found + other.found, self.right + other.right)

    @property
    def precision(self) -> float | None:
        """The share of found events that are right; None where nothing was found."""
        return self.right / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """The share of reference events that were found; None where there are none."""
        return self.right / self.reference if self.reference else None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of both; None where nothing is there and nothing was found."""
        total = self.reference + self.found
        return 2 * self.right / total if total else None

    def to_json(self) -> dict[str, Any]:
        """Return counts and shares as JSON types."""
        counts = {"reference": self.reference, "found": self.found, "right": self.right}
        return {**counts, "precision": self.precision, "recall": self.recall, "f1": self.f1}


@dataclass(frozen=True, slots=True)
class EventScore:
    """How good events are.

    Attributes:
        collar, share, matching: the rules.
        overall: of all events together (micro average).
        classes: of the events of each label, sorted.
        recordings: how many the reference has.
        not_in_reference: the recordings that have events, but that the reference does not name; all those events count
            as wrong.
    """

    collar: float
    share: float
    matching: Matching
    overall: Tally
    classes: Mapping[str, Tally]
    recordings: int
    not_in_reference: Sequence[str]

    @property
    def macro_f1(self) -> float | None:
        """The mean F1 of the classes of the reference; None where it has none."""
        scores = [one.f1 or 0.0 for one in self.classes.values() if one.reference]
        return sum(scores) / len(scores) if scores else None

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON types."""
        return {
            "collar": self.collar,
            "offset_share": self.share,
            "matching": self.matching,
            "recordings": self.recordings,
            "not_in_reference": list(self.not_in_reference),
            "overall": self.overall.to_json(),
            "macro_f1": self.macro_f1,
            "classes": [{"label": label, **one.to_json()} for label, one in self.classes.items()],
        }


def score(
    found: EventList,
    reference: EventList,
    *,
    collar: float = COLLAR,
    share: float = SHARE,
    matching: Matching = "optimal",
) -> EventScore:
    """Return how good the events are.

    Args:
        collar: how far an event may begin, and end, from the reference, in seconds.
        share: of the length of a reference event, how far its end may be off where that is more than the collar.
        matching: "optimal" pairs as many events as can be; "greedy" gives each reference event, in order, the first
            found event that fits.

    Raises:
        ClAstError: collar or share are no such numbers.
    """
    if not (math.isfinite(collar) and collar >= 0 and 0 <= share <= 1):
        raise ClAstError(f"a collar of {collar:g} s and a share of {share:g} cannot be; give 0 or more, and 0 to 1")
    groups: defaultdict[tuple[str, str], tuple[list[Sound], list[Sound]]] = defaultdict(lambda: ([], []))
    names = _names(found, reference)
    for sound in found.sounds:
        groups[names[sound.recording], sound.label][0].append(sound)
    for sound in reference.sounds:
        groups[sound.recording, sound.label][1].append(sound)
    classes: defaultdict[str, Tally] = defaultdict(Tally)
    pair = _most_pairs if matching == "optimal" else _first_pairs
    for (_, label), (own, wanted) in groups.items():
        right = pair([_fitting(one, own, collar, share) for one in wanted])
        classes[label] += Tally(len(wanted), len(own), right)
    others = sorted({sound.recording for sound in found.sounds if names[sound.recording] not in reference.recordings})
    overall = sum(classes.values(), Tally())
    ordered = dict(sorted(classes.items()))
    return EventScore(collar, share, matching, overall, ordered, len(reference.recordings), others)


def _names(found: EventList, reference: EventList) -> dict[str, str]:
    """Return for each recording of the events its name in the reference.

    A label file may add something to the name (`site1.Table.1.selections.txt`), and two single label files are of one
    recording whatever they are called.
    """
    if not (found.is_named or reference.is_named) and len(found.recordings) == len(reference.recordings) == 1:
        return dict(zip(found.recordings, reference.recordings, strict=True))
    names = {}
    for name in found.recordings:
        alike = [other for other in reference.recordings if _is_longer(name, other) or _is_longer(other, name)]
        names[name] = name if name in reference.recordings or len(alike) != 1 else alike[0]
    return names


def _is_longer(name: str, other: str) -> bool:
    return name.startswith(f"{other}.")


def _fitting(wanted: Sound, found: Sequence[Sound], collar: float, share: float) -> list[int]:
    """Return which found events fit a reference event."""
    offset = max(collar, share * (wanted.end - wanted.start))
    return [
        number
        for number, one in enumerate(found)
        if math.fabs(wanted.start - one.start) <= collar and math.fabs(wanted.end - one.end) <= offset
    ]


def _first_pairs(fitting: Sequence[Sequence[int]]) -> int:
    taken: set[int] = set()
    for numbers in fitting:
        free = next((number for number in numbers if number not in taken), None)
        if free is not None:
            taken.add(free)
    return len(taken)


def _most_pairs(fitting: Sequence[Sequence[int]]) -> int:
    """Return the most pairs that can be made at once (Kuhn's augmenting paths, found breadth first)."""
    owner: dict[int, int] = {}
    mate: dict[int, int] = {}
    for root in range(len(fitting)):
        reached: dict[int, int] = {}  # found event: the reference event it was reached from
        queue, free = [root], None
        for wanted in queue:
            for number in fitting[wanted]:
                if number not in reached:
                    reached[number] = wanted
                    if number not in owner:
                        free = number
                        break
                    queue.append(owner[number])
            if free is not None:
                break
        while free is not None:
            wanted = reached[free]
            owner[free], mate[wanted], free = wanted, free, mate.get(wanted)
    return len(owner)
