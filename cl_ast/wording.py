"""Pieces of the sentences that messages are made of."""

from collections.abc import Sequence
from functools import lru_cache


def some_of(names: Sequence[str], most: int) -> str:
    """Return names as in a sentence: "a, b", or of more than `most` the first ones and how many follow."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: "1 task", "2,000 tasks"."""
    return f"{count:,} {noun if count == 1 else f'{noun}s'}"


def duration(seconds: float) -> str:
    """Return a time as a person says it: "2.5 ms", "40 ms", "0.4 s", "80 s", "12 min", "1.5 h"."""
    if seconds < 0.1:
        return f"{1000 * seconds:.{1 if seconds < 0.01 else 0}f} ms"
    if seconds < 90:
        return f"{seconds:.{1 if seconds < 10 else 0}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


@lru_cache(maxsize=1_000)
def size(count: float | None) -> str:
    """Return a number of bytes with a suitable unit; a dash for None."""
    if count is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
