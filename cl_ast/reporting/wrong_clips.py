"""Chooses the clips that are most confidently wrong, and shows each as a spectrogram and, if wanted, as sound."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soundfile

from cl_ast.audio.log_mel import FRAMES_PER_SECOND, frame_count, log_mel
from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.errors import AudioError
from cl_ast.evaluation.details import Details, Wrong
from cl_ast.excerpts import sort_key
from cl_ast.inference.session import Session

_MOST = 8
_SECONDS = 10  # of each clip that are shown
_COLUMNS, _ROWS = 240, 64  # of the picture of a spectrogram
_RANGE = 8.0  # natural logarithms of power, 35 dB, from the darkest to the brightest
_COLOURS = 64


@dataclass(frozen=True, slots=True)
class WrongClip:
    """A clip that its task answers wrongly by name, with a high probability.

    Attributes:
        seconds: how much of it is shown.
        spectrogram: a PNG as a data URL, log-mel as the backbone gets it: time to the right, low frequencies at the
            bottom.
        audio: MP3 as a data URL; None where it is not wanted.
    """

    task: str
    wrong: Wrong
    seconds: float
    spectrogram: str
    audio: str | None = None


def most_confident(session: Session, details: Sequence[Details], *, with_audio: bool) -> list[WrongClip]:
    """Return the wrong clips of all tasks whose answers have the highest probabilities; eight at most.

    A clip that cannot be read any more is left out.
    """
    every = [(one.measured.task, wrong) for one in details for wrong in one.wrong]
    every.sort(key=lambda pair: (-pair[1].probability, sort_key(pair[1].place)))
    found = []
    for task, wrong in every[:_MOST]:
        try:
            (waveform,) = session.clips.read([wrong.place])
        except AudioError:
            continue
        shown = waveform[: _SECONDS * SAMPLE_RATE]
        audio = _mp3(shown) if with_audio else None
        found.append(WrongClip(task, wrong, len(shown) / SAMPLE_RATE, _spectrogram(shown), audio))
    return found


def _spectrogram(waveform: Waveform) -> str:
    from matplotlib import colormaps
    from PIL import Image

    frames = min(frame_count(len(waveform)), _SECONDS * FRAMES_PER_SECOND)
    energies = log_mel([waveform], frames)[0].T.flip(0).numpy()
    smaller = _reduced(_reduced(energies, _ROWS).T, _COLUMNS).T
    loudness = np.clip((smaller - smaller.max()) / _RANGE + 1, 0, 1)
    picture = Image.fromarray(np.round(loudness * (_COLOURS - 1)).astype(np.uint8), mode="P")
    palette = colormaps["magma"](np.linspace(0, 1, _COLOURS))[:, :3]
    picture.putpalette(np.round(palette * 255).astype(np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return _data_url("image/png", file.getvalue())


def _reduced(values: npt.NDArray[np.float32], rows: int) -> npt.NDArray[np.float32]:
    """Return an array (m, n) with at most so many rows, each the largest of the rows that it stands for."""
    if len(values) <= rows:
        return values
    starts = np.linspace(0, len(values), rows, endpoint=False).astype(int)
    found: npt.NDArray[np.float32] = np.maximum.reduceat(values, starts, axis=0)
    return found


def _mp3(waveform: Waveform) -> str:
    file = io.BytesIO()
    soundfile.write(file, np.clip(waveform, -1, 1), SAMPLE_RATE, format="MP3")
    return _data_url("audio/mpeg", file.getvalue())


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
