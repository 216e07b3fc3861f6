"""Reads audio files as mono 16 kHz waveforms; every error names the clip."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from itertools import chain, count, islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from cl_ast.audio import containers, opening
from cl_ast.audio.mixing import Mix
from cl_ast.audio.pieces import Part, Source
from cl_ast.errors import AudioError
from cl_ast.wording import first_line

SAMPLE_RATE = 16_000  # Hz; every backbone here was trained at this rate
AudioInput = str | Path | BinaryIO
"""A clip to read: a path, or an open binary file."""

Waveform = npt.NDArray[np.float32]  # (samples,), mono, 16 kHz, finite, nominally in [-1, 1]

MOST_SECONDS = 2 * 3600  # of a clip that is read whole


_GROWN = "it is still being written, and what was added meanwhile is left out; read it again when it is complete"


class TooLongError(AudioError):
    """Raised when a clip is longer than may be read whole."""


def read(
    clip: Path | str | BinaryIO | bytes,
    *,
    name: str | None = None,
    notes: list[str] | None = None,
    most_seconds: float = MOST_SECONDS,
) -> Waveform:
    """Read a clip of any rate and any number of channels.

    Args:
        clip: a path of a file, an open binary file, or the bytes of an audio file (see docs/formats.md).
        name: its name in error messages; the path by default.
        notes: receives a line for each thing that a listener would miss, such as bytes that were left out.
        most_seconds: how long it may be.

    Returns:
        float32 samples at 16 kHz, channels averaged. Peaks above 1 are not clipped. Where the channels cancel each
        other out, it is the loudest of them.

    Raises:
        AudioError: the file is missing, empty, truncated or not audio, or has no samples, or has samples that are not
            numbers.
        TooLongError: it is longer than `most_seconds`.
    """
    found, total = [], 0
    with closing(stream(clip, name=name, notes=notes)) as blocks:
        for block in blocks:
            found.append(block)
            total += len(block)
            if total > most_seconds * SAMPLE_RATE:
                raise TooLongError(
                    f"{name or name_of(clip)}: longer than {most_seconds / 3600:g} h, which is too much for one "
                    "answer; cut it, or give --window"
                )
    return found[0] if len(found) == 1 else np.concatenate(found)


def stream(
    clip: Path | str | BinaryIO | bytes,
    *,
    name: str | None = None,
    seconds: float = 10.0,
    notes: list[str] | None = None,
    lenient: bool = False,
) -> Generator[Waveform, None, None]:
    """Yield exactly the samples of `read` (bit-identical) in blocks, so that a long recording need not fit in memory.

    Args:
        seconds: the approximate length of a block, 10 s at most.
        lenient: read a file that is cut off, or still being written, as far as it goes, before the error is raised.

    Raises:
        AudioError: as `read` does, except for the length; an error in the middle of the file is raised when that
            block is reached.
    """
    with _named(name or name_of(clip)), closing(opening.opened(clip)) as file:
        notes = [] if notes is None else notes
        source = Source(file, lenient=lenient)
        waiting, said = containers.parts(source)
        notes += said
        some = False
        while waiting:
            part = waiting.pop(0)
            for block in _decoded(source, part, seconds, notes, waiting):
                some = some or bool(len(block))
                yield block
        if source.has_grown:
            if lenient:
                source.is_cut_off(AudioError(_GROWN))
            else:
                notes.append(_GROWN)
        if source.cut_off is not None:
            raise source.cut_off
        if not some:
            raise AudioError("the file holds no samples; record it again or leave it out")


def original(clip: Path | str | BinaryIO | bytes) -> Iterator[tuple[int, int, npt.NDArray[np.float32]]]:
    """Yield a clip in blocks as it was recorded: the number of the part, its rate in Hz and (samples, channels).

    A file of several recordings that were joined has several parts. A file that is cut off is read as far as it goes.

    Raises:
        AudioError: as `stream` does.
    """
    from cl_ast.audio.decoding import Decoder

    with _named(name_of(clip)), closing(opening.opened(clip)) as file:
        source = Source(file, lenient=True)
        waiting, _ = containers.parts(source)
        for number in count():
            if not waiting:
                return
            part = waiting.pop(0)
            with closing(Decoder(source, part)) as decoder:
                for block in decoder.blocks():
                    yield number, decoder.rate, block
                if decoder.more_follows:
                    waiting += containers.parts_after_flac(source, part)[0]


def _decoded(source: Source, part: Part, seconds: float, notes: list[str], waiting: list[Part]) -> Iterator[Waveform]:
    """Yield one part of a clip in blocks at 16 kHz. Parts that are found after it are added to those waiting."""
    from cl_ast.audio.decoding import Decoder

    with closing(Decoder(source, part)) as decoder:
        mix = Mix(notes)
        size = max(1, round(seconds * decoder.rate))
        blocks = (
            block[first : first + size] for block in map(mix, decoder.blocks()) for first in range(0, len(block), size)
        )
        yield from blocks if decoder.rate == SAMPLE_RATE else _resampled(blocks, decoder.rate)
        if decoder.more_follows:
            more, said = containers.parts_after_flac(source, part)
            waiting += more
            notes += said


def _resampled(blocks: Iterator[Waveform], rate: int) -> Iterator[Waveform]:
    import soxr

    ahead = list(islice(blocks, 2))
    if len(ahead) < 2:
        yield from (resample(block, rate) for block in ahead)
        return
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    total = 0
    for block in chain(ahead, blocks):
        total += len(block)
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.zeros(max(0, _shortest(rate) - total), np.float32), last=True)


def resample(waveform: Waveform, rate: int) -> Waveform:
    """Resample to 16 kHz with soxr's high-quality filter, which neither damps nor aliases the highest mel bins.

    The result has `len(waveform) * 16000 / rate` samples, rounded, and at least one.
    """
    if rate == SAMPLE_RATE:
        return np.ascontiguousarray(waveform, dtype=np.float32)
    import soxr

    short = _shortest(rate) - len(waveform)
    padded = np.pad(waveform, (0, short)) if short > 0 else waveform
    return np.ascontiguousarray(soxr.resample(padded, rate, SAMPLE_RATE, quality="HQ"), dtype=np.float32)


def _shortest(rate: int) -> int:
    """Return how many samples at this rate give at least one at 16 kHz: soxr rounds to the nearest length."""
    return rate // (2 * SAMPLE_RATE) + 1


def name_of(clip: object) -> str:
    """Return the name of a clip for error messages."""
    return str(clip) if isinstance(clip, str | Path) else "standard input"


def seconds(waveform: Waveform) -> float:
    """Return the length of a 16 kHz waveform in seconds."""
    return len(waveform) / SAMPLE_RATE


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Turn whatever goes wrong with a clip into an AudioError that begins with its name."""
    try:
        yield
    except AudioError as error:
        raise AudioError(f"{name}: {error}") from None
    except MemoryError:
        raise AudioError(f"{name}: needs more memory than there is; cut it into shorter clips") from None
    except Exception as error:
        raise AudioError(f"{name}: cannot be read ({first_line(error)}); convert it or leave it out") from error
