"""Times of several candidates, taken in turns, so that what else the machine does hits all of them alike.

Processor time of this process, all on one thread: what others take of the machine is not counted.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Times = Mapping[str, Sequence[float]]


def in_turns(
    candidates: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Processor seconds of each candidate, one a round, after one that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, run in candidates.items():
            started = clock()
            run()
            if number:
                taken[name].append(clock() - started)
    return taken


def ratio(times: Times, name: str, against: str) -> tuple[float, str]:
    """The median over rounds of the ratio of two candidates, and from which to which it went."""
    ratios = [mine / theirs for mine, theirs in zip(times[name], times[against], strict=True)]
    return statistics.median(ratios), f"{min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds"


def median_ms(times: Times, name: str) -> float:
    return 1e3 * statistics.median(times[name])


def processor_flags() -> str:
    """What the processor can do, in its own words; nothing where the system does not say."""
    info = Path("/proc/cpuinfo")
    return info.read_text() if info.exists() else ""
