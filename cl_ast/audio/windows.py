"""Reads clips ahead in threads, and cuts long recordings into windows without loading them whole into memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from os import cpu_count
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from cl_ast.audio import reading
from cl_ast.audio.reading import SAMPLE_RATE, AudioInput, Waveform
from cl_ast.audio.recordings import Recording
from cl_ast.errors import AudioError, ClAstError
from cl_ast.wording import first_line

READ_AHEAD = 8  # clips
_AHEAD_SECONDS = 300.0  # a longer clip is read when its turn comes, so that few of them are in memory at once
_SHIFT = SAMPLE_RATE // 100  # the front end's step
SHORTEST, LONGEST = 0.1, 30.0  # seconds, of a window
Clip = TypeVar("Clip")


@dataclass(frozen=True, init=False)
class Failure:
    """A clip that could not be classified; it can be asked what a `Prediction` can be, such as `ok` and `labels`.

    Attributes:
        reason: why, in words.
        error: the error that says why; not a field, so that `dataclasses.asdict` gives plain values.
        ok: False, as `Prediction.ok` is True.
        known, task, labels: False, None and none.
    """

    ok: ClassVar[Literal[False]] = False
    known: ClassVar[bool] = False
    task: ClassVar[None] = None
    labels: ClassVar[tuple[tuple[str, float], ...]] = ()
    path: str
    reason: str

    def __init__(self, path: str, error: ClAstError) -> None:
        for name, value in (("path", path), ("reason", str(error)), ("_error", error)):
            object.__setattr__(self, name, value)  # it is frozen

    @property
    def error(self) -> ClAstError:
        """The error that says why."""
        error: ClAstError = self.__dict__["_error"]
        return error

    def to_json(self) -> dict[str, Any]:
        """Return the failure as an object for JSON."""
        return {"path": self.path, "error": self.reason}


@dataclass(frozen=True, slots=True)
class Window:
    """How recordings are cut: into windows of `seconds`, one every `hop` seconds."""

    seconds: float
    hop: float

    def __post_init__(self) -> None:
        if not SHORTEST <= self.seconds <= LONGEST:
            raise AudioError(f"a window of {self.seconds:g} s cannot be used; choose {SHORTEST:g} to {LONGEST:g} s")
        if not 0.01 <= self.hop <= self.seconds:
            raise AudioError(f"a hop of {self.hop:g} s cannot be used; choose 0.01 s to the window's length")


class SharedBlock:
    """Samples that several overlapping windows have in common."""

    def __init__(self, samples: Waveform) -> None:
        self.samples = samples
        self._result: Any = None

    def once(self, make: Callable[[Waveform], Any]) -> Any:
        """Return `make(samples)`; it is computed once, and all windows of the block share it."""
        if self._result is None:
            self._result = make(self.samples)
        return self._result


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """A clip that was read, or a window of one.

    Attributes:
        start, end: where a window begins and ends, in seconds.
        block, first: the block that a window lies in, and its first frame of 10 ms there; None if it shares no block.
        notes: what a listener would miss in the clip, such as bytes that were left out; of several windows of a clip,
            the first after the finding has it.
    """

    path: str
    waveform: Waveform
    start: float | None = None
    end: float | None = None
    block: SharedBlock | None = None
    first: int = 0
    notes: tuple[str, ...] = ()


def segments(clips: Iterable[AudioInput], window: Window | None) -> Iterator[Segment | Failure]:
    """Yield all clips in order, cut into windows if `window` is given; a clip that cannot be read gives a failure."""
    if window is None:
        yield from _read_ahead(clips, _read_whole)
        return
    for clip in clips:
        notes: list[str] = []
        try:
            for one in windows(reading.stream(clip, notes=notes), _name(clip), window):
                yield replace(one, notes=tuple(notes)) if notes else one
                notes.clear()
        except Exception as error:
            yield _failure(clip, error)


def whole_or_recorded(clips: Iterable[AudioInput]) -> Iterator[Segment | Recording | Failure]:
    """Yield all clips in order: read, or as a `Recording` if they are files of over 5 minutes."""
    yield from _read_ahead(clips, _recording)


def windows(blocks: Iterable[Waveform], path: str, window: Window) -> Iterator[Segment]:
    """Yield a long clip's windows in order; at most a block and a window of it are in memory.

    The last window may be shorter, down to a quarter of the length. A clip of any length has a first window.
    """
    size, hop = round(window.seconds * SAMPLE_RATE), round(window.hop * SAMPLE_RATE)
    buffer = np.zeros(0, np.float32)
    begin = 0  # the buffer's place in the clip, which is the start of the next window
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        count = (len(buffer) - size) // hop + 1
        if count > 0:
            yield from cut(buffer, begin, [(k * hop, k * hop + size) for k in range(count)], path, hop)
            buffer, begin = buffer[count * hop :], begin + count * hop
    rest = [(start, min(start + size, len(buffer))) for start in range(0, len(buffer), hop)]
    yield from cut(buffer, begin, [(a, b) for a, b in rest if begin + a == 0 or b - a >= size / 4], path, hop)


def cut(buffer: Waveform, begin: int, spans: list[tuple[int, int]], path: str, hop: int) -> Iterator[Segment]:
    """Yield windows of a buffer, which they share; all numbers are samples.

    Args:
        begin: where the buffer begins in the recording.
        spans: where each window begins and ends in the buffer.
        hop: from the begin of one window to the next.
    """
    # Windows have frames of 10 ms in common only if the hop is a whole number of frames.
    block = SharedBlock(buffer) if len(spans) > 1 and hop % _SHIFT == 0 else None
    for first, end in spans:
        at = (begin + first) / SAMPLE_RATE, (begin + end) / SAMPLE_RATE
        yield Segment(path, buffer[first:end], *at, block, first // _SHIFT)


def _read_ahead(clips: Iterable[AudioInput], long: Callable[[AudioInput], Clip]) -> Iterator[Segment | Failure | Clip]:
    """Yield all clips in order.

    Args:
        long: returns what stands for a clip that is too long to be read ahead.
    """
    coming: deque[tuple[AudioInput, Future[Segment | Failure | None]]] = deque()
    pool = ThreadPoolExecutor(min(READ_AHEAD, cpu_count() or 1), "cl-ast-reads-clips")
    try:
        for clip in clips:
            is_path = isinstance(clip, str | Path)
            future = pool.submit(_read, clip, _AHEAD_SECONDS if is_path else reading.MOST_SECONDS)
            if not is_path:
                future.exception()  # The caller may close an open file once the next clip is taken, so wait here.
            coming.append((clip, future))
            if len(coming) > READ_AHEAD:
                yield _finished(*coming.popleft(), long)
        while coming:
            yield _finished(*coming.popleft(), long)
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(
    clip: AudioInput, future: Future[Segment | Failure | None], long: Callable[[AudioInput], Clip]
) -> Segment | Failure | Clip:
    """Return a clip that was read ahead, or what stands for it where it was too long for that."""
    return future.result() or long(clip)


def _read_whole(clip: AudioInput) -> Segment | Failure:
    """Return a clip that was too long to be read ahead."""
    found = _read(clip, reading.MOST_SECONDS)
    assert found is not None
    return found


def _recording(clip: AudioInput) -> Recording:
    """Return a clip that is read in blocks, as often as it is needed."""
    return Recording(_name(clip), lambda notes: reading.stream(clip, notes=notes))


def _read(clip: AudioInput, most_seconds: float) -> Segment | Failure | None:
    """Return a clip, or the failure to read it, or None for one that is too long and might be read later."""
    notes: list[str] = []
    try:
        waveform = reading.read(clip, notes=notes, most_seconds=most_seconds)
    except reading.TooLongError as error:
        return None if most_seconds < reading.MOST_SECONDS else _failure(clip, error)
    except Exception as error:
        return _failure(clip, error)
    return Segment(_name(clip), waveform, notes=tuple(notes))


def _failure(clip: AudioInput, error: Exception) -> Failure:
    """Return the failure of one clip, which must not stop the others."""
    if not isinstance(error, AudioError):
        reason = first_line(error)
        error = AudioError(f"{reading.name_of(clip)}: cannot be read ({reason}); convert it or leave it out")
    error.__context__ = error.__cause__ = None  # Their tracebacks would keep what was decoded in memory.
    return Failure(_name(clip), error.with_traceback(None))


def _name(clip: AudioInput) -> str:
    return str(clip) if isinstance(clip, str | Path) else "-"
