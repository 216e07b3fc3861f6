"""SIGTERM and Ctrl-C, by which a service is told to stop."""

import signal
from types import FrameType
from typing import Self


class Signals:
    """Counts them, inside the block.

    Attributes:
        count: how many have come.
    """

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        self._before = {one: signal.signal(one, self._take) for one in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
