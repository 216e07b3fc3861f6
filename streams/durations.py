"""Finds out from the headers of audio files how long a task's clips are."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from streams.records import Record
from streams.split import seeded_random

SHORTEST, LONGEST = 0.2, 10.24
"""The limits of the result, in seconds. The longest is the input length of an AST of 1,024 frames."""

MOST_READ = 500
"""The number of files whose headers are read at most."""

_LEAST_BYTES = 100  # of a second of sound; the smallest codecs take several hundred, and silence in FLAC a hundred
_MOST_BYTES = 2**26  # that are read of an mp3 file
_TAG = b"ID3\x04\0\0\0\0\0\x10" + bytes(16)
_HIGHEST_RATE = 1_000_000  # Hz
_BLOCK = 2**16  # samples


def typical_seconds(records: Sequence[Record], seed: int) -> float:
    """Return the 95th percentile of the durations in seconds, rounded up to 0.1 s, between 0.2 and 10.24.

    The percentile is by nearest rank. Of more than 500 clips, 500 are drawn with the seed. A clip whose header
    cannot be read is ignored here, because reading its audio will report what is wrong with it.
    """
    paths = [r.path for r in records]
    if len(paths) > MOST_READ:
        paths = seeded_random(seed, "durations").sample(paths, MOST_READ)
    known = sorted(seconds for path in paths if (seconds := _seconds(path)) is not None)
    if not known:
        return LONGEST
    percentile = known[math.ceil(0.95 * len(known)) - 1]
    # The small number subtracted keeps 0.3 s, stored as 0.30000001, from being rounded up to 0.4 s.
    return min(LONGEST, max(SHORTEST, math.ceil(percentile * 10 - 1e-4) / 10))


def _seconds(path: Path) -> float | None:
    import soundfile

    try:
        if not path.is_file():  # a pipe would be waited for without end
            return None
        with _opened(path) as file:
            info = soundfile.info(file)
            seconds = info.frames / info.samplerate
        if seconds * _LEAST_BYTES > path.stat().st_size:
            with _opened(path) as file:
                seconds = _measured(file)
    except (OSError, RuntimeError, ValueError, TypeError, ZeroDivisionError):  # libsndfile raises RuntimeError
        return None
    return seconds if seconds > 0 else None


def _opened(path: Path) -> BinaryIO:
    """Open a file so that libsndfile knows it by its first bytes.

    Of an mp3 file without a tag it would look for a resource fork first, which files called `._…` are taken for.
    """
    with path.open("rb") as file:
        head = file.read(_MOST_BYTES) if file.read(1) == b"\xff" else b""
    return io.BytesIO(_TAG + b"\xff" + head) if head else path.open("rb")


def _measured(opened: BinaryIO) -> float:
    """Return how long a file is whose header cannot be right: decoded, but no further than the longest result."""
    import soundfile

    class Forward(soundfile.SoundFile):  # type: ignore[misc]
        def seekable(self) -> bool:
            return False  # soundfile would seek after each block, which fails where the header lies

    with Forward(opened) as file:
        found, most = 0, int(LONGEST * min(file.samplerate, _HIGHEST_RATE)) + 1
        while found < most:
            count = len(file.read(min(most - found, _BLOCK), always_2d=True, dtype="int16"))
            if not count:
                break
            found += count
        return found / int(file.samplerate)
