"""Chooses the widths of a table's columns, so that no word is broken as long as there is room for all of them."""

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Column

_BETWEEN = 2  # columns are so far apart


def fit(columns: Sequence[Column], console: Console, options: ConsoleOptions) -> None:
    """Set the widths of columns that are too wide together, and leave others as they are.

    The widest columns give way first, down to their longest word. Columns of numbers stay on one line if they can. Where
    not even the words fit, the longest of them are broken.
    """
    found = [_measured(column, console, options) for column in columns]
    widest, words = [one.maximum for one in found], [one.minimum for one in found]
    room = options.max_width - _BETWEEN * (len(columns) - 1)
    if sum(widest) <= room:
        return
    lines = [most if column.no_wrap else least for column, most, least in zip(columns, widest, words, strict=True)]
    capped = ([min(word, most) for word in words] for most in range(max(words), 0, -1))
    floors = next((floors for floors in (lines, *capped) if sum(floors) <= room), [1] * len(columns))
    for column, width, most in zip(columns, _shrunk(widest, floors, room), widest, strict=True):
        column.width = width
        column.no_wrap = bool(column.no_wrap) and width >= most


def _measured(column: Column, console: Console, options: ConsoleOptions) -> Measurement:
    """Return the width of the longest word, and of the longest line, of a column with its header."""
    found = [Measurement.get(console, options, cell) for cell in (column.header, *column.cells)]
    return Measurement(max(one.minimum for one in found), max(one.maximum for one in found))


def _shrunk(widths: Sequence[int], floors: Sequence[int], room: int) -> list[int]:
    """Return widths that take no more than the room, or are all at their floors."""
    found = list(widths)
    while sum(found) > room:
        spare = [index for index, width in enumerate(found) if width > floors[index]]
        if not spare:
            break
        found[max(spare, key=lambda index: found[index])] -= 1
    return found
