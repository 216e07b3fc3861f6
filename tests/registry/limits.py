"""Bounds for tests of hostile input: the seconds of each piece of work, and the memory of all of them together."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_SECONDS = 20.0
MOST_BYTES = 2_000_000_000
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@contextmanager
def seconds_at_most(limit: float = MOST_SECONDS) -> Iterator[None]:
    """Fail if the block takes longer than this by the clock."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < limit


@contextmanager
def memory_at_most(limit: int = MOST_BYTES) -> Iterator[None]:
    """Fail if the block takes more memory than this beyond what the process had before. Only Linux tells."""
    if not _CLEAR.exists():
        yield
        return
    _CLEAR.write_text("5")  # the peak is counted from here on
    before = _kilobytes("VmRSS")
    yield
    assert (_kilobytes("VmHWM") - before) * 1024 < limit


def _kilobytes(name: str) -> int:
    return next(int(line.split()[1]) for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
