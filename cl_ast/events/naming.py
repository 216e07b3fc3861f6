"""Names of files for what was found in recordings."""

from collections.abc import Iterable
from pathlib import PurePath


def stems(paths: Iterable[str]) -> list[str]:
    """Return a name without suffix for a file about each recording; of several with one name, the later get numbers."""
    found: list[str] = []
    taken: set[str] = set()
    for path in paths:
        plain = "standard-input" if path == "-" else PurePath(path).stem
        name, number = plain, 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.casefold())
        found.append(name)
    return found
