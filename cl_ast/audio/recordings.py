"""Finds where a clip sounds that is longer than wanted, and cuts stretches out of it without loading it whole."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from cl_ast.audio.reading import SAMPLE_RATE, Waveform

# A window sounds if its power is at most so many dB below that of the loudest one. docs/long-recordings.md has the
# measurement, and that of windows that overlap by half.
BELOW_LOUDEST = 10.0
MUCH = 0.1  # seconds; a clip that is longer than wanted by less counts as not longer
_BLOCK = SAMPLE_RATE // 100  # 10 ms
_SLICE = 1_000 * _BLOCK  # samples that are converted to double precision at once


class Loudness:
    """The power of any stretch of a clip. It is kept in blocks of 10 ms, which take 6 MB for an hour.

    Attributes:
        samples: how long the clip is.
    """

    def __init__(self, blocks: Iterable[Waveform]) -> None:
        """Measure a clip that comes in blocks of any length."""
        self.samples = 0
        sums, squares = [np.zeros(1)], [np.zeros(1)]
        rest = np.zeros(0, np.float32)
        for block in blocks:
            self.samples += len(block)
            for first in range(0, len(block), _SLICE):
                rest = np.concatenate([rest, block[first : first + _SLICE]])
                whole = rest[: len(rest) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).astype(np.float64)
                sums.append(whole.sum(axis=1))
                squares.append(np.square(whole).sum(axis=1))
                rest = rest[whole.size :]
        self._sums, self._squares = (np.cumsum(np.concatenate(parts)) for parts in (sums, squares))

    def powers(self, starts: Sequence[int] | npt.NDArray[np.int64], size: int) -> npt.NDArray[np.float64]:
        """Return the power of each stretch of `size` samples, to 10 ms; an offset from zero (DC) is no power."""
        first = np.asarray(starts, np.int64) // _BLOCK
        last = np.minimum(first + max(1, size // _BLOCK), len(self._sums) - 1)
        count = np.maximum(1, last - first) * _BLOCK
        mean = (self._sums[last] - self._sums[first]) / count
        power: npt.NDArray[np.float64] = (self._squares[last] - self._squares[first]) / count - mean**2
        return power.clip(min=0.0)


class Recording:
    """A clip that is read in blocks each time it is needed, so that it need not fit into memory.

    Attributes:
        path: its name.
        notes: what a listener would miss in its file; filled when the clip is read for the first time.
    """

    def __init__(self, path: str, blocks: Callable[[list[str]], Iterable[Waveform]]) -> None:
        """
        Args:
            blocks: reads the clip from its beginning, and adds what a listener would miss to a list.
        """
        self.path = path
        self.notes: list[str] = []
        self._blocks = blocks
        self._loudness: Loudness | None = None

    @classmethod
    def of(cls, waveform: Waveform) -> "Recording":
        """Return a waveform as a recording."""
        return cls("", lambda _: [waveform])

    @property
    def loudness(self) -> Loudness:
        """How loud the clip is where. Raises AudioError if it cannot be read to its end."""
        if self._loudness is None:
            self._loudness = Loudness(self._blocks(self.notes))
        return self._loudness

    @property
    def samples(self) -> int:
        """How long the clip is. Raises AudioError if it cannot be read to its end."""
        return self.loudness.samples

    def cut(self, starts: Sequence[int], size: int) -> Iterator[Waveform]:
        """Yield the stretches of `size` samples that begin at `starts`, which rise; shorter ones at the clip's end."""
        wanted = iter(starts)
        start = next(wanted, None)
        buffer, begin = np.zeros(0, np.float32), 0
        for block in self._blocks([]):
            if start is None:
                return
            kept = buffer[max(0, start - begin) :]
            begin += len(buffer) - len(kept)
            buffer = block if not len(kept) else np.concatenate([kept, block])
            while start is not None and start + size <= begin + len(buffer):
                yield buffer[max(0, start - begin) : start - begin + size]
                start = next(wanted, None)
        while start is not None:
            yield buffer[max(0, start - begin) :]
            start = next(wanted, None)


def window_starts(samples: int, size: int) -> list[int]:
    """Return where windows of `size` samples begin: as few as cover a clip, evenly spaced from its start to its end."""
    count = max(1, -(-samples // size))
    return [number * (samples - size) // (count - 1) for number in range(count)] if count > 1 else [0]


def sounding(loudness: Loudness, starts: Sequence[int], size: int) -> list[int]:
    """Return those windows of a clip that sound: not over 10 dB below the loudest one. Of pure silence, all sound."""
    powers = loudness.powers(starts, size)
    loud = powers >= powers.max(initial=0.0) * 10 ** (-BELOW_LOUDEST / 10)
    return [start for start, sounds in zip(starts, loud.tolist(), strict=True) if sounds]


def loudest(loudness: Loudness, size: int) -> int:
    """Return where the loudest stretch of `size` samples begins, to 10 ms; the first of several."""
    starts = np.arange(0, max(0, loudness.samples - size) + 1, _BLOCK)
    return int(starts[loudness.powers(starts, size).argmax()])
