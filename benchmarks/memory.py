"""How much memory a process has, as its system says."""

import sys
from pathlib import Path


def memory_of(key: str, process: int | str = "self") -> float:
    """Return a line of a process's status in MB, which Linux has: VmRSS is its memory now, VmHWM its peak."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) / 1024


def peak_memory() -> float:
    """Return the peak of this process's memory in MB.

    On Linux, `ru_maxrss` is no such peak: a process that was started by a larger one begins with the peak of that one.
    """
    if sys.platform == "linux":
        return memory_of("VmHWM")
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10  # what the peak is counted in, per MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
