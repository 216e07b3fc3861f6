"""A file, or bytes, to what the front end takes: a mono 16 kHz waveform, or an error that names the clip."""

import io
from math import gcd
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from cl_ast.errors import AudioError

SAMPLE_RATE = 16_000  # Hz, what every trunk here was trained on
SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3"})

Waveform = npt.NDArray[np.float32]  # (samples,), mono, 16 kHz, finite, nominally in [-1, 1]

_LOUDEST = 1e9  # far above 16- or 24-bit integers kept as floats; more would overflow the mel power

# From here on, the length in a wav header is what a program writes that cannot know it: ffmpeg 0xFFFFFFFF, sox
# 0x7FFFF000, arecord 0x80000000. No clip is that long.
_STREAMED = 0x7FFFF000


def read(clip: Path | str | BinaryIO | bytes, *, name: str | None = None) -> Waveform:
    """Read a clip of any rate and any number of channels.

    Args:
        clip: a path, an open binary file, or the bytes of an audio file (wav, flac, ogg, mp3).
        name: what to call it in an error; the path by default.

    Returns:
        float32 samples at 16 kHz, channels averaged. Peaks above 1 are kept.

    Raises:
        AudioError: missing, empty, truncated, not audio, without samples, or with samples that are not numbers.
    """
    name = name or (str(clip) if isinstance(clip, str | Path) else "standard input")
    data = _bytes_of(clip, name)
    samples, rate = _decode(data, name)
    if not len(samples):
        raise AudioError(f"{name}: the file holds no samples; record it again or leave it out")
    mono = samples.mean(axis=1, dtype=np.float32) if samples.shape[1] > 1 else samples[:, 0]
    if not np.isfinite(mono).all():
        raise AudioError(f"{name}: some samples are not numbers (NaN or infinity); export the clip again")
    if np.abs(mono).max() > _LOUDEST:
        raise AudioError(f"{name}: some samples are beyond any scale ({np.abs(mono).max():.0e}); export the clip again")
    return resample(mono, rate)


def resample(waveform: Waveform, rate: int) -> Waveform:
    """To 16 kHz with soxr's high quality filter, which neither dulls nor aliases the top mel bins."""
    if rate == SAMPLE_RATE:
        return np.ascontiguousarray(waveform, dtype=np.float32)
    import soxr

    # soxr's own length rounds down; a clip of one sample must not vanish.
    short = max(1, rate // gcd(rate, SAMPLE_RATE))
    padded = waveform if len(waveform) >= short else np.pad(waveform, (0, short - len(waveform)))
    return np.ascontiguousarray(soxr.resample(padded, rate, SAMPLE_RATE, quality="HQ"), dtype=np.float32)


def seconds(waveform: Waveform) -> float:
    """Length of a 16 kHz waveform."""
    return len(waveform) / SAMPLE_RATE


def _bytes_of(clip: Path | str | BinaryIO | bytes, name: str) -> bytes:
    if isinstance(clip, bytes):
        data = clip
    elif isinstance(clip, str | Path):
        try:
            data = Path(clip).read_bytes()
        except FileNotFoundError:
            raise AudioError(f"{name}: no such file; check the path") from None
        except IsADirectoryError:
            raise AudioError(f"{name}: a folder, not a clip") from None
        except OSError as error:
            raise AudioError(f"{name}: cannot be read ({error.strerror}); check its permissions") from None
    else:
        data = clip.read()
    if not data:
        raise AudioError(f"{name}: the file is empty; record or copy it again")
    return data


def _decode(data: bytes, name: str) -> tuple[npt.NDArray[np.float32], int]:
    import soundfile

    missing = _missing_wav_bytes(data)
    if missing:
        raise AudioError(f"{name}: truncated, {missing} bytes of sound are missing; copy the file again")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            expected, rate = file.frames, file.samplerate
            samples = file.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError):
        raise AudioError(
            f"{name}: not audio that can be read (wav, flac, ogg or mp3); convert it or leave it out"
        ) from None
    # mp3 and vorbis lengths are estimates up to a few blocks; flac and wav are exact.
    if len(samples) < expected - 4096:
        raise AudioError(f"{name}: truncated, {expected - len(samples)} samples are missing; copy it again")
    return samples, rate


def _missing_wav_bytes(data: bytes) -> int:
    """How many bytes the data chunk of a RIFF file announces but does not have (libsndfile says nothing)."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return 0
    position = 12
    while position + 8 <= len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        if data[position : position + 4] == b"data":
            return 0 if size >= _STREAMED else max(0, position + 8 + size - len(data))
        position += 8 + size + size % 2
    return 0
