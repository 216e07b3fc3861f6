"""Writes an accuracy for people: of few clips as a count, because a percentage would promise too much."""

from collections.abc import Mapping
from typing import Any, TypeGuard

from cl_ast.evaluation.intervals import wilson
from cl_ast.tasks.kind_names import ACCURACY, KEY, TAGS

FEW = 100
"""Of fewer clips an accuracy is a count: there one clip is more than 1 %, and the 95 % interval up to 20 % wide."""


def counted(share: float | None, clips: int | None) -> str:
    """Return "8 of 15", or "53.3" (percent) of 100 clips and more, or where their number is not known."""
    if share is None:
        return "–"
    return f"{round(share * clips)} of {clips}" if _is_few(clips) else f"{100 * share:.1f}"


def with_interval(share: float | None, clips: int | None) -> str:
    """Return "8 of 15 (30–75 %)", with the 95 % interval (Wilson), or "53.3" as `counted` does."""
    found = counted(share, clips)
    return found if share is None or not _is_few(clips) else f"{found} ({interval(round(share * clips), clips)} %)"


def interval(right: int, clips: int) -> str:
    """Return the 95 % interval in percent, "30–75", or "82.4–89.1" of 100 clips and more; a dash for no clip."""
    found = wilson(right, clips)
    places = 0 if _is_few(clips) else 1
    return "–" if found is None else "–".join(f"{100 * end:.{places}f}" for end in found)


def right_of(right: int, clips: int) -> str:
    """Return "8 of 15 right (30–75 %)", or of 100 clips and more "172 of 200 right, 86.0 % (80.5–90.1 %)"."""
    percent = "" if _is_few(clips) or not clips else f", {100 * right / clips:.1f} %"
    return f"{right} of {clips} right{percent} ({interval(right, clips)} %)"


def of_clips(share: float, clips: int) -> str:
    """Return "8 of 15 clips", or of 100 clips and more "53.3 % of clips"."""
    return f"{counted(share, clips)} {'clips' if _is_few(clips) else '% of clips'}"


def in_sentence(share: float | None, clips: int | None) -> str:
    """Return the same with a unit: "8 of 15 (30–75 %)", or "53.3%"."""
    found = with_interval(share, clips)
    return found if share is None or _is_few(clips) else f"{found}%"


def _is_few(clips: int | None) -> TypeGuard[int]:
    return clips is not None and 0 < clips < FEW


def countable(training: Mapping[str, object], split: str) -> int | None:
    """Return how many clips an accuracy is a share of; None for the mAP of tags, which is no share of clips."""
    return None if training.get(KEY) == TAGS else clip_count(training, split)


def countable_test_clips(task: Mapping[str, Any]) -> int | None:
    """Return how many test clips the accuracy in a task's row of `stats` is a share of; None for a mAP."""
    clips: int | None = task["test_clips"]
    return clips if task["metric"] == ACCURACY else None


def clip_count(training: Mapping[str, object], split: str) -> int | None:
    """Return how many clips of a split the record of a training says there were; None where it says nothing usable."""
    found = training.get(f"{split}_clips")
    return found if type(found) is int and 0 < found < 2**53 else None
