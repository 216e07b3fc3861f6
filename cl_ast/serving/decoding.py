"""Uploads to clips: decoded in threads, bounded by the seconds of sound and by the request's deadline."""

import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from cl_ast.audio import plain_wav
from cl_ast.audio.reading import SAMPLE_RATE, TooLongError, Waveform, read, seconds, stream
from cl_ast.audio.recordings import Recording
from cl_ast.audio.windows import Segment, Window, windows
from cl_ast.errors import AudioError
from cl_ast.router import part_to_describe
from cl_ast.serving.refusals import Refusal, late
from cl_ast.serving.uploads import Upload

_QUICK_BYTES = 2**16
_QUICK_RATES = range(8_000, 48_001)  # Hz; at others so many bytes could be more sound
_PCM, _FLOAT = 1, 3
_WAV = struct.Struct("<4sI8s4xHHI")  # up to the rate, as nearly every program writes it
_WHOLE_SECONDS = 60.0  # of a clip that is kept in memory; longer ones are read in blocks


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a recording may be: seconds of sound, and until when (`time.monotonic`) it must be read."""

    seconds: float
    deadline: float

    def too_long(self, name: str) -> Refusal:
        """Return the refusal of a longer recording."""
        return Refusal("too_large", f"{name}: longer than the {self.seconds:g} s that this service takes")


@dataclass(frozen=True, slots=True)
class Clip:
    """A decoded upload.

    Attributes:
        part: what the router reads of it.
        seconds: how long it is.
    """

    clip: Segment | Recording
    part: Waveform | None
    seconds: float


def is_quick(upload: Upload) -> bool:
    """Return whether to decode an upload takes less than to let another thread do it, whatever is in it.

    It is a small WAV file and nothing else, of plain samples at a usual rate: 8 s of sound at most, and a millisecond.
    """
    content = upload.content
    if not isinstance(content, bytes) or not _WAV.size <= len(content) <= _QUICK_BYTES:
        return False
    riff, length, kind, form, _, rate = _WAV.unpack_from(content)
    is_wav = riff == b"RIFF" and kind == b"WAVEfmt " and length + 8 == len(content)
    return is_wav and form in (_PCM, _FLOAT) and rate in _QUICK_RATES


def decoded(upload: Upload, limits: Limits, *, routed: bool) -> Clip:
    """Return an upload as a clip. Raises AudioError, and Refusal where it is too long or takes too long."""
    with named_as_sent(upload):
        try:
            notes: list[str] = []
            most = min(_WHOLE_SECONDS, limits.seconds)
            waveform = _plain(upload, most)
            if waveform is None:
                waveform = read(upload.content, name=upload.name, notes=notes, most_seconds=most)
        except TooLongError:
            if limits.seconds <= _WHOLE_SECONDS:
                raise limits.too_long(upload.name) from None
            recording = Recording(upload.name, lambda notes: blocks(upload, limits, notes))
            part = part_to_describe(recording) if routed else None
            return Clip(recording, part, recording.samples / SAMPLE_RATE)
        part = part_to_describe(waveform) if routed else None
        return Clip(Segment(upload.name, waveform, notes=tuple(notes)), part, seconds(waveform))


def _plain(upload: Upload, most_seconds: float) -> Waveform | None:
    """Return the samples of a plain WAV file in memory; None where `read` is needed."""
    if isinstance(upload.content, bytes) and len(upload.content) <= 2 * SAMPLE_RATE * most_seconds:
        return plain_wav.samples(upload.content)
    return None


def cut(upload: Upload, window: Window, limits: Limits) -> Iterator[Segment]:
    """Yield the windows of an upload, of which a block at a time is in memory. Raises as `decoded` does."""
    with named_as_sent(upload):
        notes: list[str] = []
        for one in windows(blocks(upload, limits, notes), upload.name, window):
            yield replace(one, notes=tuple(notes)) if notes else one
            notes.clear()


def blocks(upload: Upload, limits: Limits, notes: list[str]) -> Iterator[Waveform]:
    """Yield the samples of an upload in blocks. Raises as `decoded` does."""
    samples = 0
    with closing(stream(upload.content, name=upload.name, notes=notes)) as found:
        for block in found:
            samples += len(block)
            if samples > limits.seconds * SAMPLE_RATE:
                raise limits.too_long(upload.name)
            if time.monotonic() > limits.deadline:
                raise late()
            yield block


@contextmanager
def named_as_sent(upload: Upload) -> Iterator[None]:
    """Name an upload in errors as the client does, and never by where it lies."""
    try:
        yield
    except AudioError as error:
        if isinstance(upload.content, bytes):
            raise
        raise AudioError(str(error).replace(str(upload.content), upload.name)) from None
