"""Cuts sound that comes in pieces of any length into windows; which windows does not depend on the pieces."""

from collections.abc import Iterator

import numpy as np

from cl_ast.audio.reading import Waveform
from cl_ast.audio.windows import Segment, cut


class WindowCutter:
    """Cuts windows in groups of a fixed number, which are classified together: so their scores, too, stay the same.

    The last windows may be shorter, down to a quarter of the length, and so may the last group be smaller. A recording
    of any length has a first window.

    Attributes:
        size, hop: how long a window is, and from the begin of one to the next, in samples.
        samples: how much sound came.
    """

    def __init__(self, path: str, size: int, hop: int, group: int) -> None:
        """
        Args:
            path: the recording, for the windows' names.
            group: how many windows are classified together: 1 for the least delay.
        """
        self.size = size
        self.hop = hop
        self.samples = 0
        self._path = path
        self._group = group
        self._pieces: list[Waveform] = []
        self._begin = 0  # where the pieces begin, which is the start of the next window

    @property
    def waiting(self) -> int:
        """How many samples wait for a window to be complete."""
        return self.samples - self._begin

    @property
    def ready(self) -> int:
        """How many windows are complete."""
        return max(0, (self.waiting - self.size) // self.hop + 1)

    def put(self, samples: Waveform) -> None:
        """Take the next samples."""
        self._pieces.append(samples)
        self.samples += len(samples)

    def add(self, samples: Waveform) -> Iterator[list[Segment]]:
        """Take the next samples, and yield the groups of windows that are complete."""
        self.put(samples)
        while self.waiting >= (self._group - 1) * self.hop + self.size:
            yield self._cut(self._group)

    def drop(self, most: int) -> int:
        """Leave out the next windows, at most so many of those that are complete; return how many there were."""
        count = max(0, min(most, self.ready))
        self._forget(count * self.hop)
        return count

    def finish(self) -> Iterator[list[Segment]]:
        """Yield the groups of the windows that are left at the end."""
        while count := self._left():
            yield self._cut(min(count, self._group))

    def _left(self) -> int:
        """Return how many windows begin in what is left, each at least a quarter of the length, or the first."""
        if self._begin == 0 and 0 < self.samples < self.size / 4:
            return 1
        return max(0, (self.waiting - -(-self.size // 4)) // self.hop + 1)

    def _cut(self, count: int) -> list[Segment]:
        buffer = self._whole()[: (count - 1) * self.hop + self.size]
        spans = [(first, min(first + self.size, len(buffer))) for first in range(0, count * self.hop, self.hop)]
        found = list(cut(buffer, self._begin, spans, self._path, self.hop))
        self._forget(count * self.hop)
        return found

    def _whole(self) -> Waveform:
        if len(self._pieces) != 1:
            self._pieces = [np.concatenate([np.zeros(0, np.float32), *self._pieces])]
        return self._pieces[0]

    def _forget(self, samples: int) -> None:
        """Forget samples from the beginning."""
        self._pieces = [self._whole()[samples:]]
        self._begin += samples
