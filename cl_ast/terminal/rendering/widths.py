"""Chooses the widths of a table's columns, so that no word is broken as long as there is room for all of them."""

from collections.abc import Sequence


def that_fit(widest: Sequence[int], lines: Sequence[int], words: Sequence[int], room: int) -> Sequence[int]:
    """Return a width for each column. The widest columns give way first.

    Args:
        widest: the longest line of each column.
        lines: the same for columns that should not be broken, and the longest word of the others.
        words: the longest word of each column. Where not even the words fit, the longest of them are broken.
        room: the width for all columns.
    """
    capped = ([min(word, most) for word in words] for most in range(max(words), 0, -1))
    floors = next((floors for floors in (lines, *capped) if sum(floors) <= room), [1] * len(words))
    found = list(widest)
    while sum(found) > room:
        spare = [index for index, width in enumerate(found) if width > floors[index]]
        if not spare:
            break
        found[max(spare, key=lambda index: found[index])] -= 1
    return found
