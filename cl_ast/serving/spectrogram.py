"""The spectrogram of a recording as a browser shows it: the log-mel of the front end, in 8 bits and in tiles.

A tile has the same number of columns at every level; a column of level L is the largest of 2^L frames of 10 ms. So a
browser needs only the tiles that it shows, however long the recording is.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cl_ast.audio.log_mel import BINS, SHIFT, WINDOW, frame_count, log_mel
from cl_ast.audio.reading import Waveform

COLUMNS = 512  # of a tile
DEEPEST = 12  # the highest level: 2^12 frames are 41 s
# Natural logarithms of energy that become 0 and 255: silence is -15.9, and full scale is about 8.
_QUIETEST, _LOUDEST = -16.0, 8.0


class LogMelColumns:
    """Turns sound in pieces of any length into columns of 128 bytes each, from the lowest band to the highest."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._none_yet = True

    def add(self, samples: Waveform) -> bytes:
        """Take the next samples, mono at 16 kHz; return the columns that are complete."""
        self._rest = np.concatenate([self._rest, samples])
        if len(self._rest) < WINDOW:
            return b""
        frames = frame_count(len(self._rest))
        columns = _columns(self._rest, frames)
        self._rest, self._none_yet = self._rest[frames * SHIFT :], False
        return columns

    def finish(self) -> bytes:
        """Return the column of a recording that is too short for one; otherwise none is left."""
        return _columns(self._rest, 1) if self._none_yet else b""


def _columns(samples: Waveform, frames: int) -> bytes:
    energies = log_mel([samples], frames)[0].numpy()
    scaled = (energies - _QUIETEST) * (255 / (_LOUDEST - _QUIETEST))
    return np.round(scaled.clip(0, 255)).astype(np.uint8).tobytes()


def tile(file: Path, level: int, number: int) -> bytes:
    """Return a tile of a file of columns: `COLUMNS` columns, fewer at the end, and none beyond it."""
    size = COLUMNS << level
    frames: npt.NDArray[np.uint8] = np.fromfile(file, np.uint8, size * BINS, offset=number * size * BINS)
    frames = frames.reshape(-1, BINS)
    if not level or not len(frames):
        return frames.tobytes()
    return np.maximum.reduceat(frames, np.arange(0, len(frames), 1 << level), axis=0).tobytes()
