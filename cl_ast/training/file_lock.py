"""Locks an open file, so that other processes know that somebody uses it."""

from typing import IO


def try_lock(file: IO[bytes], *, wait: bool = False) -> bool:
    """Lock an open file until it is closed, and return whether that could be done. Windows has no such lock."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
