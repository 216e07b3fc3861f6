"""Times several candidates in turns, so that other work on the machine affects all of them alike.

The clock is the processor time of this process on one thread: what other processes use is not counted.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Times = Mapping[str, Sequence[float]]


def in_turns(
    candidates: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Return the processor seconds of each candidate, one a round, after a first round that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, run in candidates.items():
            started = clock()
            run()
            if number:
                taken[name].append(clock() - started)
    return taken


def ratio(times: Times, name: str, against: str) -> tuple[float, str]:
    """Return the median over rounds of the ratio of two candidates, and its range in words."""
    ratios = [mine / theirs for mine, theirs in zip(times[name], times[against], strict=True)]
    return statistics.median(ratios), f"{min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds"


def median_ms(times: Times, name: str) -> float:
    """Return the median time of a candidate in milliseconds."""
    return 1e3 * statistics.median(times[name])


def processor_flags() -> str:
    """Return what /proc/cpuinfo says of the processor; nothing where there is no such file."""
    info = Path("/proc/cpuinfo")
    return info.read_text() if info.exists() else ""
