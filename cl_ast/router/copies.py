"""Altered copies of a clip, from which a task also learns its routing.

Without them a router recognises a task by how its clips were recorded. If only one task was recorded at 8 kHz, the
missing treble identifies it, and a clip of another task that comes over the telephone is sent there; if only one task
has short clips, or clips without noise around them, a clip of another task that was cut or padded is sent there.
"""

import io
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import soundfile

from cl_ast.audio.mpeg import TAG
from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.router.sound import SHORTEST, repeated, without_silence

BAND = 3_400  # Hz; telephones and all sampling rates in use transmit the frequencies below
_COMPRESSION = 0.9  # soundfile's compression level, from 0 to 1: a low bit rate
_FAINTEST, _LOUDEST = 60.0, 30.0  # how many dB the noise around a clip is under the clip


def copies(clip: Waveform) -> tuple[Waveform, ...]:
    """Return `COPIES` clips: the clip itself, and each of `ALTERATIONS` of it."""
    return clip, *(alter(clip) for alter in ALTERATIONS)


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
    random = _generator_of(clip)
    shortest = min(len(sound), SHORTEST)
    length = round(np.exp(random.uniform(np.log(max(1, shortest)), np.log(max(1, len(sound))))))
    start = int(random.integers(0, max(0, len(sound) - length) + 1))
    return sound[start : start + length]


def noise_around(clip: Waveform) -> Waveform:
    """Add up to a second of white noise before the clip and after it, 30 to 60 dB under it.

    The same clip always gets the same noise.
    """
    random = _generator_of(clip)
    level = float(np.sqrt(np.mean(clip.astype(np.float64) ** 2))) * 10 ** (-random.uniform(_LOUDEST, _FAINTEST) / 20)
    before, after = random.integers(0, SAMPLE_RATE, 2)
    noise = random.normal(size=before + after) * level
    return np.concatenate([noise[:before], clip, noise[before:]]).astype(np.float32)


ALTERATIONS: Sequence[Callable[[Waveform], Waveform]] = (low_passed, coded, second_of, part_of, noise_around)
COPIES = 1 + len(ALTERATIONS)  # the number of clips that `copies` returns


def _generator_of(clip: Waveform) -> np.random.Generator:
    """Return a generator that depends on the clip alone, so that learning a task's routing again gives the same."""
    return np.random.default_rng(zlib.crc32(np.ascontiguousarray(clip).tobytes()))
