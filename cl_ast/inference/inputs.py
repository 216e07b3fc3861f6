"""Takes the clips of a caller in all the forms that are handy: one or several; paths, open files, arrays."""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cl_ast.audio.reading import SAMPLE_RATE, AudioInput
from cl_ast.errors import AudioError

Array = npt.NDArray[Any]
Clips = AudioInput | Array | Iterable[AudioInput | Array]
"""One clip, or several."""


def inputs_of(clips: Clips) -> Iterator[AudioInput]:
    """Yield the clips, one by one, as `Manager.answer` takes them.

    Raises:
        AudioError: an array is no mono waveform.
    """
    alone = isinstance(clips, str | Path) or hasattr(clips, "read") or _is_waveform(clips)
    several: Iterable[Any] = [clips] if alone else clips  # type: ignore[assignment]
    for clip in several:
        yield _file_of(clip) if hasattr(clip, "__array__") else clip


def _is_waveform(clips: object) -> bool:
    """Return whether this is one waveform, and not several in the rows of one array."""
    return hasattr(clips, "__array__") and np.ndim(np.asarray(clips)) <= 1


def _file_of(array: Any) -> AudioInput:
    """Return a waveform as an open file, in which its samples are exactly what they are.

    Args:
        array: (samples,) at 16 kHz, of floats nominally in [-1, 1]; also a tensor on the CPU.
    """
    import soundfile

    samples = np.asarray(array)
    if samples.ndim != 1 or samples.dtype.kind != "f":
        raise AudioError(
            f"an array of shape {samples.shape} and type {samples.dtype} is no clip: give mono samples at 16 kHz as "
            "floats, (samples,) for one clip"
        )
    file = io.BytesIO()
    soundfile.write(file, samples.astype(np.float32), SAMPLE_RATE, format="WAV", subtype="FLOAT")
    file.seek(0)
    return file
