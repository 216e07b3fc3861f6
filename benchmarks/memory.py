"""How much memory a process has, as Linux says."""

from pathlib import Path


def memory_of(key: str, process: int | str = "self") -> float:
    """Return a line of a process's status in MB: VmRSS is its memory now, VmHWM its peak.

    `ru_maxrss` is no such peak: a process that was started by a larger one begins with the peak of that one.
    """
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) / 1024
