"""Walks folders for audio files, in one way for learning and for predicting."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

EXTENSIONS = frozenset(
    {
        ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".snd", ".w64",
        ".wav", ".wave",
    }
)  # fmt: skip
"""The endings, in lower case, of files that are taken for audio that is read."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A folder that could not be entered, and why, in the system's words."""

    path: Path
    reason: str


def visible(name: str) -> bool:
    """Return whether a file or folder is one of the user's, and not one that a system or an archive left behind."""
    return not name.startswith(".") and name != "__MACOSX"


def walk(folder: Path, skip: Callable[[Path], bool] = lambda _: False) -> Iterator[Path | Obstacle]:
    """Yield every visible file below a folder, sorted: the files of a folder come before those of its folders.

    Links to folders are followed after all else. No folder is entered twice, nor one that the folder itself is in, so
    links that lead back have no effect.
    A folder that cannot be entered is yielded as an obstacle.

    Args:
        folder: where to begin.
        skip: says of a folder whether it is passed over.
    """
    entered = {key for parent in folder.absolute().parents if (key := _key(parent)) is not None}
    links: list[Path] = []
    yield from _below(folder, entered, links, skip)
    while links:
        link = links.pop(0)
        yield from _below(link, entered, links, skip)


def audio_files(folder: Path) -> Iterator[Path | Obstacle]:
    """Yield those files of a walk whose ending is that of audio, and the obstacles."""
    return (one for one in walk(folder) if isinstance(one, Obstacle) or one.suffix.lower() in EXTENSIONS)


def _below(
    top: Path, entered: set[tuple[int, int]], links: list[Path], skip: Callable[[Path], bool]
) -> Iterator[Path | Obstacle]:
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        if skip(folder):
            continue
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as found:
                entries = sorted((entry for entry in found if visible(entry.name)), key=lambda entry: entry.name)
        except OSError as error:
            yield Obstacle(folder, error.strerror or str(error))
            continue
        inside = []
        for entry in entries:
            path = folder / entry.name
            if not _is_folder(entry):
                yield path
            elif entry.is_symlink():
                links.append(path)
            else:
                inside.append(path)
        waiting += reversed(inside)


def _key(folder: Path) -> tuple[int, int] | None:
    """Return what tells a folder from others, whatever it is called; None where it cannot be looked at."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link that leads to itself; reading the file will say so
        return False
