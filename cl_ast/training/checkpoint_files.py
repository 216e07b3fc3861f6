"""The files of checkpoints: written durably, read as if anybody had written them, and removed when they are old.

    <registry and task>-<everything that identifies the training>.safetensors

Both parts of the name are hashes, so no two trainings share a file.
"""

import os
import re
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path

from registry.file_stores import whole_file

OLDEST_DAYS = 30
# The first kind is of this release; older ones wrote <hash>.safetensors and <hash>.<process>.part.
_OURS = re.compile(
    r"\.?[0-9a-f]{16}-[0-9a-f]{40}(\.[0-9a-f]{16})?\.(safetensors|part)|[0-9a-f]{32}\.(safetensors|\d+\.part)"
)


def write(path: Path, data: bytes) -> None:
    """Write a file completely or not at all, so that it outlives a power loss; then remove checkpoints that are old.

    Raises:
        OSError: it cannot be written; what was there before is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # nobody else shall put checkpoints there
    with whole_file(path, path.with_name(f".{path.stem}.{secrets.token_hex(8)}.part")) as file:
        file.write(data)
    _remove_old(path.parent)


def read(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is something else than a file, or has more than `most` bytes.
    """
    # Opening a pipe would wait for its other end.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:  # noqa: PTH123  (a descriptor has no path)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no regular file")
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than the {most:,} bytes that the training can have")
    return data


def _remove_old(folder: Path) -> None:
    """Remove checkpoints, and what a killed process left of one, that nobody has written for 30 days."""
    before = time.time() - OLDEST_DAYS * 24 * 3600
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if _OURS.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_mtime < before:
                    os.unlink(entry.path)  # noqa: PTH108  (scandir's entry)
