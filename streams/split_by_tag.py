"""Splits records that may have several labels, so that each label is spread over the splits as a class would be.

Iterative stratification (Sechidis et al., On the stratification of multi-label data, 2011): the label with the fewest
clips left is divided first, and each of its clips goes to the part that lacks it most. These functions touch no file.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from streams.records import Record

Wanted = Callable[[int], Sequence[int]]
"""Maps how many clips a label has to how many of them each part is to have; the first part trains."""


def parts_by_tag(records: Sequence[Record], wanted: Wanted) -> list[list[Record]]:
    """Divide records into parts, the first of which has every label.

    Args:
        records: in the order in which they are drawn.
    """
    totals = Counter(label for record in records for label in record.labels)
    lacks = {label: list(wanted(count)) for label, count in totals.items()}
    room = list(wanted(len(records)))
    parts: list[list[Record]] = [[] for _ in room]
    left = list(records)
    while left:
        counts = Counter(label for record in left for label in record.labels)
        rarest = min(counts, key=lambda label: (counts[label], label))
        for record in left:
            if rarest in record.labels:
                part = max(range(len(parts)), key=lambda one: (lacks[rarest][one], room[one], -one))
                _put(record, parts, part, lacks, room)
        left = [record for record in left if rarest not in record.labels]
    for label in sorted(totals):
        if not any(label in record.labels for record in parts[0]):
            giver = next(part for part in parts[1:] if any(label in record.labels for record in part))
            parts[0].append(giver.pop(next(i for i, record in enumerate(giver) if label in record.labels)))
    return parts


def _put(record: Record, parts: list[list[Record]], part: int, lacks: dict[str, list[int]], room: list[int]) -> None:
    parts[part].append(record)
    room[part] -= 1
    for label in record.labels:
        lacks[label][part] -= 1


def some_of_each_tag(records: Sequence[Record], count: int) -> list[Record]:
    """Return records such that every label is on at least `count` of them; those of rare labels are taken first.

    Args:
        records: in the order in which they are drawn; each label is on at least `count` of them.
    """
    totals = Counter(label for record in records for label in record.labels)
    has = Counter[str]()
    taken: dict[int, Record] = {}
    for label in sorted(totals, key=lambda label: (totals[label], label)):
        for number, record in enumerate(records):
            if has[label] >= count:
                break
            if number not in taken and label in record.labels:
                taken[number] = record
                has.update(record.labels)
    return list(taken.values())
