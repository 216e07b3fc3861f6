"""Measures serving: mixed batches, attaching tasks, more tasks than memory, short and long clips, and whole processes.

The parts can be run alone, with options: `python -m benchmarks.mixed`, `.attach`, `.predicting`, `.starting`.
"""

from benchmarks import attach, mixed, predicting, starting
from benchmarks.rows import Row


def measure() -> list[Row]:
    """Return the rows of all parts."""
    return [*mixed.measure(), *attach.measure(), *predicting.measure(), *starting.measure()]
