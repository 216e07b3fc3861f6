"""Reads audio files as mono 16 kHz waveforms; every error names the clip."""

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import gcd
from os import cpu_count
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from cl_ast.errors import AudioError

SAMPLE_RATE = 16_000  # Hz; every backbone here was trained at this rate
SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3"})

AudioInput = str | Path | BinaryIO
"""A clip to read: a path, or an open binary file."""

Waveform = npt.NDArray[np.float32]  # (samples,), mono, 16 kHz, finite, nominally in [-1, 1]

_LOUDEST = 1e9  # far above 24-bit integers stored as floats; larger samples would overflow the mel power

# Programs that do not know the length yet write one of at least this size into the wav header: ffmpeg 0xFFFFFFFF, sox
# 0x7FFFF000, arecord 0x80000000. No clip is that long.
_STREAMED = 0x7FFFF000


def read(clip: Path | str | BinaryIO | bytes, *, name: str | None = None) -> Waveform:
    """Read a clip of any rate and any number of channels.

    Args:
        clip: a path, an open binary file, or the bytes of an audio file (wav, flac, ogg, mp3).
        name: its name in error messages; the path by default.

    Returns:
        float32 samples at 16 kHz, channels averaged. Peaks above 1 are not clipped.

    Raises:
        AudioError: the file is missing, empty, truncated or not audio, or has no samples, or has samples that are not
            numbers.
    """
    name = name or name_of(clip)
    with _opened(clip, name) as file, _sound(file, name) as sound:
        rate = sound.samplerate
        samples = np.concatenate(list(_mono(sound, None, name)))
    return resample(samples, rate)


def stream(
    clip: Path | str | BinaryIO | bytes, *, name: str | None = None, seconds: float = 10.0
) -> Iterator[Waveform]:
    """Yield exactly the samples of `read` (bit-identical) in blocks, so that a long recording need not fit in memory.

    Args:
        seconds: the approximate length of a block.

    Raises:
        AudioError: as `read` does; an error in the middle of the file is raised when that block is reached.
    """
    name = name or name_of(clip)
    with _opened(clip, name) as file, _sound(file, name) as sound:
        rate = sound.samplerate
        blocks = _mono(sound, round(seconds * rate), name)
        yield from blocks if rate == SAMPLE_RATE else _resampled(blocks, rate)


def _resampled(blocks: Iterator[Waveform], rate: int) -> Iterator[Waveform]:
    import soxr

    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    total = 0
    for block in blocks:
        total += len(block)
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.zeros(max(0, _shortest(rate) - total), np.float32), last=True)


def read_all(paths: Sequence[Path]) -> list[Waveform]:
    """Read clips in threads, in order. Raises AudioError for the first that cannot be read."""
    if len(paths) == 1:
        return [read(paths[0])]
    with ThreadPoolExecutor(min(8, cpu_count() or 1)) as pool:
        return list(pool.map(read, paths))


def resample(waveform: Waveform, rate: int) -> Waveform:
    """Resample to 16 kHz with soxr's high-quality filter, which neither damps nor aliases the highest mel bins."""
    if rate == SAMPLE_RATE:
        return np.ascontiguousarray(waveform, dtype=np.float32)
    import soxr

    short = _shortest(rate) - len(waveform)
    padded = np.pad(waveform, (0, short)) if short > 0 else waveform
    return np.ascontiguousarray(soxr.resample(padded, rate, SAMPLE_RATE, quality="HQ"), dtype=np.float32)


def _shortest(rate: int) -> int:
    """Return how many samples at this rate give at least one at 16 kHz: soxr rounds its output length down."""
    return max(1, rate // gcd(rate, SAMPLE_RATE))


def name_of(clip: object) -> str:
    """Return the name of a clip for error messages."""
    return str(clip) if isinstance(clip, str | Path) else "standard input"


def seconds(waveform: Waveform) -> float:
    """Return the length of a 16 kHz waveform in seconds."""
    return len(waveform) / SAMPLE_RATE


def _opened(clip: Path | str | BinaryIO | bytes, name: str) -> BinaryIO:
    """Open a clip as a seekable file that is not empty; the bytes of a pipe are first read into memory."""
    if isinstance(clip, str | Path):
        try:
            file: BinaryIO = Path(clip).open("rb")  # noqa: SIM115, the caller closes it
        except FileNotFoundError:
            raise AudioError(f"{name}: no such file; check the path") from None
        except IsADirectoryError:
            raise AudioError(f"{name}: a folder, not a clip") from None
        except OSError as error:
            raise AudioError(f"{name}: cannot be read ({error.strerror}); check its permissions") from None
    else:
        file = io.BytesIO(clip if isinstance(clip, bytes) else clip.read())
    if not file.seek(0, io.SEEK_END):
        file.close()
        raise AudioError(f"{name}: the file is empty; record or copy it again")
    file.seek(0)
    return file


def _sound(file: BinaryIO, name: str) -> Any:
    """Open the file with soundfile. Raises AudioError if it is truncated or not audio."""
    import soundfile

    missing = _missing_wav_bytes(file)
    if missing:
        raise AudioError(f"{name}: truncated, {missing} bytes of sound are missing; copy the file again")
    try:
        return soundfile.SoundFile(file)
    except (soundfile.LibsndfileError, RuntimeError):
        raise _not_audio(name) from None


def _mono(sound: Any, size: int | None, name: str) -> Iterator[Waveform]:
    """Yield blocks of at most `size` samples (all samples for None) with averaged channels, after checking them."""
    import soundfile

    found = 0
    while True:
        try:
            samples = sound.read(-1 if size is None else size, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError):
            raise _not_audio(name) from None
        if not len(samples):
            break
        found += len(samples)
        mono = samples.mean(axis=1, dtype=np.float32) if samples.shape[1] > 1 else samples[:, 0]
        _check(mono, name)
        yield mono
    if not found:
        raise AudioError(f"{name}: the file holds no samples; record it again or leave it out")
    # The lengths of mp3 and vorbis files may be wrong by a few blocks; those of flac and wav files are exact.
    if found < sound.frames - 4096:
        raise AudioError(f"{name}: truncated, {sound.frames - found} samples are missing; copy it again")


def _check(mono: Waveform, name: str) -> None:
    if not np.isfinite(mono).all():
        raise AudioError(f"{name}: some samples are not numbers (NaN or infinity); export the clip again")
    if np.abs(mono).max() > _LOUDEST:
        raise AudioError(f"{name}: some samples are beyond any scale ({np.abs(mono).max():.0e}); export the clip again")


def _not_audio(name: str) -> AudioError:
    return AudioError(f"{name}: not audio that can be read (wav, flac, ogg or mp3); convert it or leave it out")


def _missing_wav_bytes(file: BinaryIO) -> int:
    """Return how many bytes of its data chunk a RIFF file lacks; libsndfile does not report this."""
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    position = 12
    missing = 0
    while head[:4] == b"RIFF" and head[8:] == b"WAVE" and position + 8 <= length:
        file.seek(position)
        chunk = file.read(8)
        size = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data":
            missing = 0 if size >= _STREAMED else max(0, position + 8 + size - length)
            break
        position += 8 + size + size % 2
    file.seek(0)
    return missing
