"""Says how much memory is free here and on a GPU, how much of it clips may take, and what to do when it is full.

It imports torch where it needs it, because `cl-ast doctor` answers also where torch does not import.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cl_ast.errors import TrainingError

if TYPE_CHECKING:
    import torch

_SHARE = 4  # a set of clips takes at most a quarter: others follow, and the training itself needs the most
_UNKNOWN = 2**33  # bytes, where the system does not say how much is free


def room(device: torch.device) -> int:
    """Return how many bytes one set of clips may take in the memory of a device: a quarter of what is free."""
    return (_free_on_gpu(device) if device.type == "cuda" else free_memory()) // _SHARE


@contextmanager
def full_memory_named(device: torch.device, batch_size: int) -> Iterator[None]:
    """Raise TrainingError, which says what to do, where the memory of the device does not suffice inside the block."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(f"the memory of {device} is full; use a smaller --batch-size than {batch_size}") from error


def _free_on_gpu(device: torch.device) -> int:
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    # torch keeps memory that it has freed, and uses it again.
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def free_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many bytes this process could take: what the system has free, or less where a container limits it."""
    return max(0, min(_free_here(proc), *_left_in_groups(proc, cgroups)))


def _free_here(proc: Path) -> int:
    for line in _lines(proc / "meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return _UNKNOWN


def _left_in_groups(proc: Path, cgroups: Path) -> Iterator[int]:
    """Yield what is left in each control group that the process is in; a very large number comes first."""
    yield 2**62
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, place = line.split(":", 2)
        if controllers == "":
            top, limit, used, cached = cgroups, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            top, limit, used = cgroups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cached = "total_inactive_file"
        else:
            continue
        group = top / place.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                yield from _left(folder, limit, used, cached)


def _left(folder: Path, limit: str, used: str, cached: str) -> Iterator[int]:
    """Yield the limit of a group without what it uses. Files in its memory do not count, since they can be dropped."""
    try:
        most, now = int((folder / limit).read_text()), int((folder / used).read_text())
    except (OSError, ValueError):  # there is no such group, or its limit is "max"
        return
    spare = [int(line.split()[1]) for line in _lines(folder / "memory.stat") if line.split()[:1] == [cached]]
    yield most - now + sum(spare)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
