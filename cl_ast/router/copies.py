"""Altered copies of a clip, from which a task also learns its routing.

Without them a router recognises a task by how its clips were recorded. If only one task was recorded at 8 kHz, the
missing treble identifies it, and a clip of another task that comes over the telephone is sent there; if only one task
has short clips, a clip of another task that was cut is sent there.
"""

import io
import zlib

import numpy as np
import soundfile

from cl_ast.audio.mpeg import TAG
from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.router.sound import SHORTEST, repeated, without_silence

BAND = 3_400  # Hz; telephones and all sampling rates in use transmit the frequencies below
_COMPRESSION = 0.9  # soundfile's compression level, from 0 to 1: a low bit rate
COPIES = 5  # the number of clips that `copies` returns


def copies(clip: Waveform) -> tuple[Waveform, ...]:
    """Return `COPIES` clips: the clip itself, without treble, through a lossy codec, as one second, and a part."""
    return clip, low_passed(clip), coded(clip), second_of(clip), part_of(clip)


def low_passed(clip: Waveform, band: float = BAND) -> Waveform:
    """Remove everything above `band` Hz."""
    spectrum = np.fft.rfft(clip)
    spectrum[int(band / (SAMPLE_RATE / 2) * len(spectrum)) :] = 0
    return np.fft.irfft(spectrum, len(clip)).astype(np.float32)


def coded(clip: Waveform, container: str = "MP3", level: float = _COMPRESSION) -> Waveform:
    """Encode and decode the clip at a low bit rate as MP3, or in another lossy format that soundfile writes."""
    file = io.BytesIO()
    peak = max(1.0, float(np.abs(clip).max()))
    soundfile.write(file, clip / peak, SAMPLE_RATE, format=container, compression_level=level)
    decoded, _ = soundfile.read(io.BytesIO((TAG if container == "MP3" else b"") + file.getvalue()), dtype="float32")
    result: Waveform = decoded * np.float32(peak)
    return result if len(result) else clip


def second_of(clip: Waveform) -> Waveform:
    """Return the second in the middle of the sound; a shorter sound is repeated."""
    sound = without_silence(clip)
    return repeated(sound[max(0, len(sound) - SAMPLE_RATE) // 2 :], SAMPLE_RATE)


def part_of(clip: Waveform) -> Waveform:
    """Return a random part of the sound, of 0.3 s up to all of it; the same clip always gives the same part."""
    sound = without_silence(clip)
    random = np.random.default_rng(zlib.crc32(np.ascontiguousarray(clip).tobytes()))
    shortest = min(len(sound), SHORTEST)
    length = round(np.exp(random.uniform(np.log(max(1, shortest)), np.log(max(1, len(sound))))))
    start = int(random.integers(0, max(0, len(sound) - length) + 1))
    return sound[start : start + length]
