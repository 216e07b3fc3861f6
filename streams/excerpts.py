"""Decides which labelled parts of recordings can be used as clips. The others are counted, and one of each is named."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from streams.durations import stated_seconds
from streams.left_out import LeftOut
from streams.records import Listed, Record

SHORTEST = 0.01
"""Seconds: how long a part is at least, and how far two labels may overlap by rounding."""

SLACK = 0.1
"""Seconds by which a part may reach beyond its recording, as rounded times do; what is there is used."""


def usable(listed: Sequence[Listed], left_out: LeftOut) -> list[Record]:
    """Return the records that can be used; `left_out` remembers the others.

    Left out are parts without a label, that end before they begin, that reach beyond their recording, and that overlap
    with a part of another label, since in none of them one class sounds alone. Parts of one label may overlap.
    """
    length = cache(stated_seconds)
    groups: defaultdict[str, list[str]] = defaultdict(list)
    good = []
    for one in listed:
        why = _wrong(one.record, length(one.record.path) if one.record.span else None)
        if why:
            groups[why].append(one.place)
        else:
            good.append(one)
    by_recording: defaultdict[Path, list[Listed]] = defaultdict(list)
    for one in good:
        by_recording[one.record.path].append(one)
    mixed = {one for own in by_recording.values() for one in _overlapping(own)}
    groups["overlapping with another label"] = [one.place for one in good if one in mixed]
    for why, places in groups.items():
        left_out.rows(why, places)
    return [one.record for one in good if one not in mixed]


def _wrong(record: Record, length: float | None) -> str:
    """Return what is wrong with a part by itself, as the end of a sentence; nothing for a good one."""
    if not record.label:
        return "without a label"
    if record.span is None:
        return ""
    start, end = record.span
    if end - start < SHORTEST:
        return f"ending less than {SHORTEST:g} s after the start"
    if start < 0 or (length is not None and (end > length + SLACK or start >= length)):
        return "reaching beyond the recording"
    return ""


def _overlapping(listed: Sequence[Listed]) -> list[Listed]:
    """Return those parts of one recording that overlap with a part of another label."""
    if len({one.record.label for one in listed}) < 2:
        return []
    rows = sorted((*(one.record.span or (0.0, float("inf"))), one.record.label) for one in listed)
    begins = [start for start, _, _ in rows]
    latest = _latest_ends(rows)
    found = []
    for one in listed:
        start, end = one.record.span or (0.0, float("inf"))
        before_end = latest[bisect_left(begins, end - SHORTEST)]
        if any(other > start + SHORTEST for label, other in before_end if label != one.record.label):
            found.append(one)
    return found


def _latest_ends(rows: Sequence[tuple[float, float, str]]) -> list[list[tuple[str, float]]]:
    """Return for each number of rows, taken from the first, the two labels of them that end last, and when."""
    latest: list[tuple[str, float]] = []
    found = [latest]
    for _, end, label in rows:
        ends = dict(latest)
        ends[label] = max(end, ends.get(label, end))
        latest = sorted(ends.items(), key=lambda one: -one[1])[:2]
        found.append(latest)
    return found
