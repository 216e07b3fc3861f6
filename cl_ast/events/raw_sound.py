"""Raw samples of a device or a pipe, in pieces of any length, as mono waveforms at 16 kHz and as they were recorded."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import soxr

from cl_ast.audio.decoding import HIGHEST_RATE, LOWEST_RATE, MOST_CHANNELS
from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.errors import AudioError

Encoding = Literal["pcm_s16le", "pcm_f32le"]
Samples = npt.NDArray[np.float32]  # (samples, channels)
_TYPES = {"pcm_s16le": ("<i2", 2**15), "pcm_f32le": ("<f4", 1)}


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """How raw samples are to be read: their rate in Hz, how each is written, and how many channels take turns.

    Raises AudioError where no sound is recorded so.
    """

    rate: int = SAMPLE_RATE
    encoding: Encoding = "pcm_s16le"
    channels: int = 1

    def __post_init__(self) -> None:
        if not LOWEST_RATE <= self.rate <= HIGHEST_RATE:
            raise AudioError(f"{self.rate:,} samples a second cannot be used; give {LOWEST_RATE:,} to {HIGHEST_RATE:,}")
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise AudioError(f"{self.channels} channels cannot be used; give 1 to {MOST_CHANNELS}")

    @property
    def dtype(self) -> "np.dtype[Any]":
        """The type of a sample of one channel."""
        return np.dtype(_TYPES[self.encoding][0])

    @property
    def bytes(self) -> int:
        """How many bytes a sample of all channels takes."""
        return self.dtype.itemsize * self.channels


class RawSound:
    """Decodes raw bytes that come in pieces of any length; a sample may be cut in two by a piece's end.

    Attributes:
        format: how they are read.
    """

    def __init__(self, format: SoundFormat) -> None:
        self.format = format
        self._rest = b""

    def add(self, data: bytes) -> Samples:
        """Return the samples (samples, channels) that are complete now; floats may be infinite or no numbers."""
        data = self._rest + data
        whole = len(data) // self.format.bytes * self.format.bytes
        self._rest = data[whole:]
        found = np.frombuffer(data[:whole], self.format.dtype).astype(np.float32)
        samples: Samples = found / np.float32(_TYPES[self.format.encoding][1])
        return samples.reshape(-1, self.format.channels)


class Resampler:
    """Mixes channels to their mean and resamples to 16 kHz, in pieces of any length, which give the same samples."""

    def __init__(self, rate: int) -> None:
        self._stream = None
        if rate != SAMPLE_RATE:
            self._stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def add(self, samples: Samples) -> Waveform:
        """Return what is ready at 16 kHz after these samples (samples, channels)."""
        mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
        return self._resampled(np.ascontiguousarray(mono), last=False)

    def finish(self) -> Waveform:
        """Return what is left at the end."""
        return self._resampled(np.zeros(0, np.float32), last=True)

    def _resampled(self, mono: Waveform, *, last: bool) -> Waveform:
        if self._stream is None:
            return mono
        found: Waveform = self._stream.resample_chunk(mono, last=last)
        return found


class Ring:
    """The last seconds of a stream as they were recorded, from which clips are cut."""

    def __init__(self, rate: int, seconds: float) -> None:
        self.rate = rate
        self._most = round(seconds * rate)
        self._pieces: deque[Samples] = deque()
        self._first = 0  # the first sample that is kept
        self._stop = 0

    def add(self, samples: Samples) -> None:
        """Add the next samples, and forget those that are too old."""
        self._pieces.append(samples)
        self._stop += len(samples)
        while self._stop - self._first - len(self._pieces[0]) >= self._most:
            self._first += len(self._pieces.popleft())

    def cut(self, first: int, stop: int) -> Samples:
        """Return what is kept of a stretch, whose places are given in samples at 16 kHz."""
        begin, end = (round(place * self.rate / SAMPLE_RATE) for place in (first, stop))
        return np.concatenate(list(self._parts(begin, end)) or [np.zeros((0, 1), np.float32)])

    def _parts(self, begin: int, end: int) -> Iterator[Samples]:
        at = self._first
        for piece in self._pieces:
            part = piece[max(0, begin - at) : max(0, end - at)]
            at += len(piece)
            if len(part):
                yield part
