"""Where a clip is: a file of its own, or an excerpt of a longer recording, which is cut when it is read.

`streams` finds excerpts in tables and label files, `cl_ast.audio` reads them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Excerpt:
    """A part of a recording.

    Attributes:
        path: the recording.
        start, end: where the part begins and ends, in seconds from the beginning of the recording.
    """

    path: Path
    start: float
    end: float

    def __str__(self) -> str:
        return f"{self.path} ({self.words})"

    @property
    def words(self) -> str:
        """The part in words, such as `12.5–14 s`."""
        return f"{self.start:.6g}–{self.end:.6g} s"

    def absolute(self) -> "Excerpt":
        """Return the same excerpt with an absolute path, as `Path.absolute` does."""
        return Excerpt(self.path.absolute(), self.start, self.end)


Place = Path | Excerpt
"""Where a clip is."""


def place_of(path: Path, span: tuple[float, float] | None) -> Place:
    """Return where a clip is: the whole file, or the part from the first to the second number of seconds."""
    return path if span is None else Excerpt(path, *span)


def short_name(place: Place) -> str:
    """Return the name of a clip with its folder, for a message."""
    if isinstance(place, Excerpt):
        return f"{short_name(place.path)} ({place.words})"
    return f"{place.parent.name}/{place.name}"


def in_folder(place: Place, folder: Path) -> str:
    """Return where a clip is for a person: relative to the folder, if it is in it."""
    if isinstance(place, Excerpt):
        return f"{in_folder(place.path, folder)} ({place.words})"
    return place.relative_to(folder).as_posix() if place.is_relative_to(folder) else str(place)


def record(place: Place) -> dict[str, Any]:
    """Return where a clip is for JSON: `path`, and of an excerpt `start` and `end` in seconds."""
    if isinstance(place, Excerpt):
        return {"path": str(place.path), "start": place.start, "end": place.end}
    return {"path": str(place)}


def sort_key(place: Place) -> tuple[Path, float, float]:
    """Return a key by which clips are in the order of their paths, and excerpts of one recording by their time."""
    return (place.path, place.start, place.end) if isinstance(place, Excerpt) else (place, 0.0, 0.0)
