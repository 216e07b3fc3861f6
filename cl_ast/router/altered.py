"""Copies of a clip that a task also learns its routing from, so that none owns a band or a codec.

A task recorded at 8 kHz is told by its missing treble alone, until any other task's clip comes through a telephone.
"""

import io

import numpy as np
import soundfile

from cl_ast.audio import SAMPLE_RATE, Waveform

BAND = 3_400  # Hz: what a telephone passes, and every sampling rate in use
_BITRATE = 0.9  # of soundfile's compression levels: low
COPIES = 3


def copies(clip: Waveform) -> tuple[Waveform, ...]:
    """The clip as it is, without its treble, and through a lossy codec: `COPIES`."""
    return clip, low_passed(clip), coded(clip)


def low_passed(clip: Waveform, band: float = BAND) -> Waveform:
    """Nothing above `band` Hz, everything below as it was."""
    spectrum = np.fft.rfft(clip)
    spectrum[int(band / (SAMPLE_RATE / 2) * len(spectrum)) :] = 0
    return np.fft.irfft(spectrum, len(clip)).astype(np.float32)


def coded(clip: Waveform, container: str = "MP3", level: float = _BITRATE) -> Waveform:
    """Through MP3, or another lossy container that soundfile writes, at a low rate."""
    file = io.BytesIO()
    peak = max(1.0, float(np.abs(clip).max()))
    soundfile.write(file, clip / peak, SAMPLE_RATE, format=container, compression_level=level)
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    heard: Waveform = decoded * np.float32(peak)
    return heard if len(heard) else clip
