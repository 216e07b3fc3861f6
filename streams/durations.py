"""Finds out from the headers of audio files how long a task's clips are."""

import io
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from streams.records import Record
from streams.split import seeded_random

SHORTEST, LONGEST = 0.2, 10.24
"""The limits of the result, in seconds. The longest is the input length of an AST of 1,024 frames."""

MOST_READ = 500
"""The number of files whose headers are read at most."""

# What libsndfile raises, and what reading a file raises.
_UNREADABLE = (OSError, RuntimeError, ValueError, TypeError, ZeroDivisionError)
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
    some = list(records)
    if len(some) > MOST_READ:
        some = seeded_random(seed, "durations").sample(some, MOST_READ)
    known = sorted(seconds for record in some if (seconds := _seconds(record)) is not None)
    if not known:
        return LONGEST
    percentile = known[math.ceil(0.95 * len(known)) - 1]
    # The small number subtracted keeps 0.3 s, stored as 0.30000001, from being rounded up to 0.4 s.
    return min(LONGEST, max(SHORTEST, math.ceil(percentile * 10 - 1e-4) / 10))


def stated_seconds(path: Path) -> float | None:
    """Return how long a recording is by its header; None where that cannot be known without decoding it."""
    with suppress(*_UNREADABLE):
        size, seconds = path.stat().st_size, _stated(path)
        is_part = path.suffix.lower() == ".mp3" and size > _MOST_BYTES  # of which the rest was not looked at
        return seconds if 0 < seconds * _LEAST_BYTES <= size and not is_part else None
    return None


def _seconds(record: Record) -> float | None:
    if record.span is not None:
        return record.span[1] - record.span[0]
    path = record.path
    try:
        seconds = _stated(path)
        if seconds * _LEAST_BYTES > path.stat().st_size:
            with _opened(path) as file:
                seconds = _measured(file)
    except _UNREADABLE:
        return None
    return seconds if seconds > 0 else None


def _stated(path: Path) -> float:
    import soundfile

    if not path.is_file():  # a pipe would be waited for without end
        return 0.0
    with _opened(path) as file:
        info = soundfile.info(file)
        return float(info.frames / info.samplerate)


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
