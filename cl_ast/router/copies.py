"""Copies of a clip that a task also learns its routing from, so that none owns a band, a codec or a length.

A task recorded at 8 kHz is told by its missing treble alone, until any other task's clip comes through a telephone; a
task of short clips by their length, until any other's clip is cut.
"""

import io
import zlib

import numpy as np
import soundfile

from cl_ast.audio.mpeg import TAG
from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.router.sound import SHORTEST, repeated, without_silence

BAND = 3_400  # Hz: what a telephone passes, and every sampling rate in use
_BITRATE = 0.9  # of soundfile's compression levels: low
COPIES = 5


def copies(clip: Waveform) -> tuple[Waveform, ...]:
    """`COPIES`: the clip as it is, without its treble, through a lossy codec, as one second, and a part of it."""
    return clip, low_passed(clip), coded(clip), second_of(clip), part_of(clip)


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
    decoded, _ = soundfile.read(io.BytesIO((TAG if container == "MP3" else b"") + file.getvalue()), dtype="float32")
    heard: Waveform = decoded * np.float32(peak)
    return heard if len(heard) else clip


def second_of(clip: Waveform) -> Waveform:
    """The second in the middle of the sound; a shorter one again and again."""
    sound = without_silence(clip)
    return repeated(sound[max(0, len(sound) - SAMPLE_RATE) // 2 :], SAMPLE_RATE)


def part_of(clip: Waveform) -> Waveform:
    """From 0.3 s to all of the sound, somewhere in it: always the same part of the same clip."""
    sound = without_silence(clip)
    random = np.random.default_rng(zlib.crc32(np.ascontiguousarray(clip).tobytes()))
    shortest = min(len(sound), SHORTEST)
    length = round(np.exp(random.uniform(np.log(max(1, shortest)), np.log(max(1, len(sound))))))
    start = int(random.integers(0, max(0, len(sound) - length) + 1))
    return sound[start : start + length]
