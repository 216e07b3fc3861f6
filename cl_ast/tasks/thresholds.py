"""Where events of single classes begin, as `cl-ast tune` recorded it with a version of a task. Imports no torch."""

from collections.abc import Mapping

from registry.version_facts import VersionFacts

KEY = "thresholds"
"""Where a version's training record has them."""


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


def windows_of(version: VersionFacts) -> tuple[float, float] | None:
    """Return the window and the hop, in seconds, whose scores the thresholds are for; None where no record says so."""
    record = version.training.get(KEY)
    found = [record.get(name) if isinstance(record, Mapping) else None for name in ("window", "hop")]
    window, hop = (float(one) if isinstance(one, int | float) and 0 < one < 1e6 else None for one in found)
    return None if window is None or hop is None else (window, hop)
