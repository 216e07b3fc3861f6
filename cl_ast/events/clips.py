"""Cuts events out of recordings as clips, with the rate and the channels that they were recorded with."""

import re
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from cl_ast.audio import reading
from cl_ast.audio.reading import SAMPLE_RATE, AudioInput
from cl_ast.errors import AudioError, ClAstError
from cl_ast.events.event import Event

Block = npt.NDArray[np.float32]  # (samples, channels)
_UNSAFE = re.compile(r"[^\w.+-]+")
_LONGEST_NAME = 60  # letters of a recording's name, and of a label


def clip_name(stem: str, event: Event) -> str:
    """Return the name of an event's clip: the recording, when it begins and ends, its label and its score."""
    label = _plain(event.label or "unknown")
    return f"{_plain(stem)}_{event.start:.3f}-{event.end:.3f}_{label}_{event.score_max or 0:.2f}.wav"


def _plain(text: str) -> str:
    return _UNSAFE.sub("_", text)[:_LONGEST_NAME].lstrip(".") or "_"


def write_clip(path: Path, samples: Block, rate: int) -> None:
    """Write samples as a wav file of floats. Raises ClAstError where it cannot be written; then no part of it stays."""
    _make(path.parent)
    file = _Clip(path, rate, samples.shape[1])
    file.write(samples)
    file.close()


def save_clips(clip: AudioInput, events: Sequence[Event], folder: Path, stem: str) -> None:
    """Write every event of a recording as a file of its own, in one pass over it.

    An event that goes on from one of several joined recordings to the next is cut at the end of the first.

    Raises:
        ClAstError: the folder or a file cannot be written, as on a full disk; the clips before it are there.
    """
    wanted = sorted((one for one in events if not one.why), key=lambda one: one.first)
    if not wanted:
        return
    _make(folder)
    part, begun, done = -1, 0, 0  # the part, where it begins in samples at 16 kHz, and its samples so far
    rate = SAMPLE_RATE
    open_now: list[tuple[Event, _Clip]] = []
    with ExitStack() as stack, suppress(AudioError):  # It was said when the events were found.
        for number, block_rate, block in reading.original(clip):
            if number != part:
                begun += round(done * SAMPLE_RATE / rate)
                part, rate, done, open_now = number, block_rate, 0, []
            end = done + len(block)
            while wanted and _at(wanted[0].first - begun, rate) < end:
                file = _Clip(folder / clip_name(stem, wanted[0]), rate, block.shape[1])
                stack.callback(file.close)
                open_now.append((wanted.pop(0), file))
            for event, file in open_now:
                first, stop = (_at(one - begun, rate) for one in (event.first, event.stop))
                file.write(block[max(0, first - done) : max(0, stop - done)])
                if stop <= end:
                    file.close()
            open_now = [(event, file) for event, file in open_now if _at(event.stop - begun, rate) > end]
            done = end


def _at(sample: int, rate: int) -> int:
    """Return where a sample at 16 kHz is at another rate."""
    return max(0, round(sample * rate / SAMPLE_RATE))


class _Clip:
    """A clip that is written in parts."""

    def __init__(self, path: Path, rate: int, channels: int) -> None:
        self._path = path
        try:
            path.open("wb").close()  # whose error says why it cannot be, where that of soundfile does not
        except OSError as error:
            raise _refused(path, error) from None
        try:
            self._file = soundfile.SoundFile(path, "w", rate, channels, "FLOAT", format="WAV")
        except (OSError, RuntimeError) as error:
            raise self._failed(error) from None

    def write(self, samples: Block) -> None:
        """Add samples. Raises ClAstError where they cannot be written, and takes the file away."""
        try:
            self._file.write(samples)
            self._file.flush()
        except (OSError, RuntimeError, AssertionError) as error:  # the last where fewer samples could be written
            self.close()
            raise self._failed(error) from None

    def close(self) -> None:
        """End the file; once more does nothing."""
        with suppress(OSError, RuntimeError):
            self._file.close()

    def _failed(self, error: Exception) -> ClAstError:
        """Take away what was written, and return what is said of it."""
        with suppress(OSError):
            self._path.unlink()
        return _refused(self._path, error)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(folder, error) from None


def _refused(path: Path, error: Exception) -> ClAstError:
    reason = getattr(error, "strerror", None) or "the disk may be full"
    return ClAstError(f"{path}: the clip cannot be written ({reason}); free some space, or name another folder")
