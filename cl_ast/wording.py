"""Pieces of the sentences that messages are made of."""

from collections.abc import Sequence


def some_of(names: Sequence[str], most: int) -> str:
    """Return names as in a sentence: "a, b", or of more than `most` the first ones and how many follow."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
