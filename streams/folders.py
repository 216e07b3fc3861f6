"""Lists the clips of folders in sorted order. Hidden files, which systems and archives leave behind, are skipped."""

import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from streams.folder_names import is_noise
from streams.walk import EXTENSIONS, Obstacle, visible
from streams.walk import walk as walk_all


def _endings(words: str) -> frozenset[str]:
    return frozenset(f".{word}" for word in words.split())


OTHER_AUDIO = _endings(
    "3ga aac ac3 adts alac amr ape awb dsf dts gsm m4a m4b m4p mka mp1 mp2 mpa mpc nist ogx pcm ra raw sph spx tta voc"
    " vox wma wv"
) | _endings("3gp asf avi f4v flv m4v mkv mov mp4 mpeg mpg mts ogv qt rm vob webm wmv")
"""Endings of audio and video that are not read."""

_PACKED = _endings("gz bz2 xz zst zip 7z part tmp crdownload bak")


def is_clip(path: Path) -> bool:
    """Return whether the file's ending, in upper or lower case, is one that is read."""
    return path.suffix.lower() in EXTENSIONS


def is_other_audio(path: Path) -> bool:
    """Return whether the file is audio or video that is not read, by its ending or, without one, by its first bytes."""
    suffix = path.suffix.lower()
    if suffix in EXTENSIONS:
        return False
    if suffix in _PACKED:
        inner = Path(path.stem).suffix.lower()
        return inner in EXTENSIONS or inner in OTHER_AUDIO
    return suffix in OTHER_AUDIO or (not re.fullmatch(r"\.[a-z]{1,8}", suffix) and _begins_as_audio(path))


def _begins_as_audio(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:
        return False
    return start[:4] in (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b".snd") or start[4:8] == b"ftyp"


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if visible(entry.name) and entry.is_dir()]
    return [folder / name for name in sorted(names)]


def files_in(folder: Path) -> list[Path]:
    """Return the files in a folder."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if visible(entry.name) and entry.is_file()]
    return [folder / name for name in sorted(names)]


def holds_clips_itself(folder: Path) -> bool:
    """Return whether clips are in the folder, and not only in folders in it."""
    with os.scandir(folder) as entries:
        return any(visible(entry.name) and is_clip(Path(entry.name)) and entry.is_file() for entry in entries)


def walk(folder: Path, skipped: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """Yield the files in a folder and in the folders in it; links to folders are followed, each folder once.

    Folders of background noise are not entered; `skipped` is called with each of them.

    Raises:
        OSError: a folder cannot be listed.
    """

    def skip(place: Path) -> bool:
        noise = place != folder and is_noise(place.name)
        if noise and skipped is not None:
            skipped(place)
        return noise

    for one in walk_all(folder, skip):
        if isinstance(one, Obstacle):
            raise PermissionError(errno.EACCES, one.reason, str(one.path))
        yield one


def holds_audio(folder: Path) -> bool:
    """Return whether a folder, or one in it, has audio, be it read or not."""
    return any(is_clip(path) or is_other_audio(path) for path in walk(folder))
