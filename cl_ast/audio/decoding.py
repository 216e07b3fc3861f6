"""Decodes a part of a clip with libsndfile, in blocks and from the first sample to the last.

A number in a header is never believed: memory is taken for a block at a time, and the end is where no samples follow.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import soundfile

from cl_ast.audio.pieces import Memory, Part, Source, View
from cl_ast.errors import AudioError

Samples = npt.NDArray[np.float32]  # (samples, channels)

LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000  # Hz; a recorder for bats takes 500,000
MOST_CHANNELS = 256
BLOCK_SECONDS = 10
_LENIENT_SECONDS = 1  # of a block, where a damaged file is read as far as it goes: the block with the damage is lost
_BLOCK_SAMPLES = 2**22  # of all channels together
# What a recording may decode to: 3 h at 48 kHz, or more where the file is not too small for it. A small file may
# otherwise claim days of silence.
_MOST_SAMPLES = 2**29
_SAMPLES_PER_BYTE = 100
_SLACK = 4_096  # samples; the lengths that mp3 and vorbis files give may be wrong by a few blocks
_PROBE = 2**12  # samples that are tried after the last one
_EXACT_SLACK = 512  # where the header should be exact
_UNKNOWN = 2**62  # libsndfile gives a larger number of samples where a header gives none


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is read from the beginning to the end only.

    soundfile would otherwise seek after each block, which several formats cannot do and others do inexactly.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


class Decoder:
    """One part, opened.

    Attributes:
        rate: in Hz.
        more_follows: whether bytes that are not its own came after the last sample that its header promises.
    """

    def __init__(self, source: Source, part: Part) -> None:
        """
        Raises:
            AudioError: it is not audio, it is truncated, or its rate or channels are beyond any recording.
        """
        self._view = source.view(part.pieces)
        self._block = _LENIENT_SECONDS if source.lenient else BLOCK_SECONDS
        self._sound = self._opened(self._view)
        self.rate: int = self._sound.samplerate
        self._channels: int = self._sound.channels
        self._declared = part.samples or self._sound.frames
        self._exact = part.samples is not None
        self.more_follows = False
        self._most = max(_MOST_SAMPLES, _SAMPLES_PER_BYTE * self._view.length)
        if not LOWEST_RATE <= self.rate <= HIGHEST_RATE:
            raise AudioError(
                f"a sampling rate of {self.rate:,} Hz cannot be used, only {LOWEST_RATE:,} to {HIGHEST_RATE:,} Hz; "
                "its header may be damaged: export the clip again"
            )
        if self._channels > MOST_CHANNELS:
            raise AudioError(f"{self._channels} channels cannot be used, only up to {MOST_CHANNELS}; export it again")

    def blocks(self) -> Iterator[Samples]:
        """Yield the samples in blocks of ten seconds, or less where there are many channels or the source is lenient.

        Raises:
            AudioError: it is damaged or truncated, or it has more samples than a recording has.
        """
        size = max(1, min(self._block * self.rate, _BLOCK_SAMPLES // self._channels))
        found = 0
        # libsndfile reads no further than its own number of samples, but may do so where the header's was changed.
        while found < self._declared or self._exact:
            left = self._declared - found
            block = self._read(min(size, left if left > 0 else _PROBE), found)
            if not len(block):
                break
            found += len(block)
            if found * self._channels > self._most:
                raise AudioError(
                    f"{found / self.rate / 3600:.1f} h and more of {self._channels} channels in "
                    f"{self._view.length:,} bytes; this is no recording"
                )
            yield block
        if self._declared < _UNKNOWN and found < self._declared - (_EXACT_SLACK if self._exact else _SLACK):
            raise AudioError(f"truncated or damaged, {self._declared - found} samples are missing; copy it again")

    def _opened(self, view: Memory | View) -> soundfile.SoundFile:
        try:
            return _Forward(view)
        except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError):
            if view.error:
                raise view.error from None
            raise AudioError("not audio that can be read: its header is damaged; copy or convert it again") from None

    def _read(self, size: int, found: int) -> Samples:
        """Return a block. An error after the last sample that the header promises is only the end of the sound."""
        try:
            block: Samples = self._sound.read(size, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError):
            if self._view.error is None and not 0 < self._declared <= found:
                raise AudioError(
                    f"truncated or damaged, it cannot be decoded after {found / self.rate:.1f} s; copy it again"
                ) from None
            self.more_follows = True
            block = np.zeros((0, self._channels), np.float32)
        if self._view.error:
            raise self._view.error
        return block

    def close(self) -> None:
        """Close the decoder, not the file."""
        self._sound.close()
