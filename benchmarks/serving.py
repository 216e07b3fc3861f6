"""Answering: mixed batches, attaching, more tasks than memory, short clips, long ones, and a process of its own.

The parts can be run alone, with options: `python -m benchmarks.mixed`, `.attach`, `.predicting`, `.starting`.
"""

from benchmarks import attach, mixed, predicting, starting
from benchmarks.rows import Row


def measure() -> list[Row]:
    return [*mixed.measure(), *attach.measure(), *predicting.measure(), *starting.measure()]
