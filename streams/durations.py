"""How long a task's clips are, from their headers."""

import math
from collections.abc import Sequence
from pathlib import Path

from streams.split import seeded
from streams.task import Record

SHORTEST, LONGEST = 0.2, 10.24  # seconds; the longest is what an AST of 1,024 frames was made for
MOST_READ = 500


def typical_seconds(records: Sequence[Record], seed: int) -> float:
    """The 95th percentile (nearest rank) of the durations, rounded up to 0.1 s, between 0.2 and 10.24 s.

    At most 500 seeded clips are looked at. A header that cannot be read is passed over: reading that clip
    will say what is wrong with it.
    """
    paths = [r.path for r in records]
    if len(paths) > MOST_READ:
        paths = seeded(seed, "durations").sample(paths, MOST_READ)
    known = sorted(seconds for path in paths if (seconds := _seconds(path)) is not None)
    if not known:
        return LONGEST
    percentile = known[math.ceil(0.95 * len(known)) - 1]
    # Less a hair: 0.3 s stored as 0.30000001 is no 0.4 s.
    return min(LONGEST, max(SHORTEST, math.ceil(percentile * 10 - 1e-4) / 10))


def _seconds(path: Path) -> float | None:
    import soundfile

    try:
        info = soundfile.info(path)
        seconds = info.frames / info.samplerate
    except (OSError, RuntimeError, ValueError, ZeroDivisionError):  # libsndfile's errors are RuntimeErrors
        return None
    return seconds if seconds > 0 else None
