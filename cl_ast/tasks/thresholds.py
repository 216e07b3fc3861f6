"""Where events of single classes begin, as `cl-ast tune` recorded it with a version of a task. Imports no torch."""

from collections.abc import Mapping
from typing import NamedTuple

from registry.version_facts import VersionFacts

KEY = "thresholds"
"""Where a version's training record has them."""


class Windows(NamedTuple):
    """The windows whose scores thresholds are for: scores of other windows differ.

    Attributes:
        window, hop: how long each is, and from the begin of one to the next, in seconds.
        timeline: whether each has a score for every step in time of the backbone, and not one for all of it.
    """

    window: float
    hop: float
    timeline: bool = False

    def in_words(self) -> str:
        """Return how they are described to people."""
        return f"windows of {self.window:g} s, hop {self.hop:g} s{', with a timeline' * self.timeline}"


def thresholds_of(version: VersionFacts) -> dict[str, float]:
    """Return the score, in [0, 1], at which events of a class begin, by label, as `thresholds_in` does."""
    return thresholds_in(version.training)


def thresholds_in(training: Mapping[str, object]) -> dict[str, float]:
    """Return the same from a training record.

    A value that cannot be one is left out, whoever wrote the record; so are all for a version that was not tuned.
    """
    record = training.get(KEY)
    labels = record.get("labels") if isinstance(record, Mapping) else None
    found: dict[str, float] = {}
    for label, one in labels.items() if isinstance(labels, Mapping) else ():
        on = one.get("on") if isinstance(one, Mapping) else None
        if isinstance(on, int | float) and 0 <= on <= 1:
            found[str(label)] = float(on)
    return found


def windows_of(version: VersionFacts) -> Windows | None:
    """Return the windows whose scores the thresholds are for; None where no record says so.

    Earlier releases tuned without a timeline, and did not record that.
    """
    record = version.training.get(KEY)
    if not isinstance(record, Mapping):
        return None
    found = (record.get(name) for name in ("window", "hop"))
    window, hop = (float(one) if isinstance(one, int | float) and 0 < one < 1e6 else None for one in found)
    return None if window is None or hop is None else Windows(window, hop, record.get("timeline") is True)
