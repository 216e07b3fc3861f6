"""Clips to what is answered at once: short ones read ahead in threads, long ones in blocks and cut into windows."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np

from cl_ast.audio import reading as audio
from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.errors import AudioError
from cl_ast.inference.prediction import Clip, Failure, Window

READ_AHEAD = 8  # clips read before they are asked for
_SHIFT = SAMPLE_RATE // 100  # the front end's step


class SharedBlock:
    """Sound that several windows lie in."""

    def __init__(self, samples: Waveform) -> None:
        self.samples = samples
        self._made: Any = None

    def once(self, make: Callable[[Waveform], Any]) -> Any:
        """What `make` gives for the samples; made the first time, and shared by all windows."""
        if self._made is None:
            self._made = make(self.samples)
        return self._made


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """A clip that was read, or a window of one.

    Attributes:
        start, end: of a window, in seconds.
        stretch, first: where the window lies, and its first frame of 10 ms there; None where its frames are its own.
    """

    path: str
    waveform: Waveform
    start: float | None = None
    end: float | None = None
    stretch: SharedBlock | None = None
    first: int = 0


def pieces(clips: Iterable[Clip], window: Window | None) -> Iterator[Segment | Failure]:
    """All clips in order, cut where a window is given; a clip that cannot be read is one Failure."""
    if window is None:
        yield from _read_ahead(clips)
        return
    for clip in clips:
        try:
            yield from windows(audio.stream(clip), _called(clip), window)
        except AudioError as error:
            yield Failure(_called(clip), error)


def windows(blocks: Iterable[Waveform], path: str, window: Window) -> Iterator[Segment]:
    """A long clip's windows in order; no more of it is held than a block and a window.

    The last window may be shorter, but is no shorter than a quarter; the first is there however short the clip is.
    """
    size, hop = round(window.seconds * SAMPLE_RATE), round(window.hop * SAMPLE_RATE)
    held = np.zeros(0, np.float32)
    begin = 0  # where in the clip `held` begins, which is where the next window does
    for block in blocks:
        held = np.concatenate([held, block])
        count = (len(held) - size) // hop + 1
        if count > 0:
            yield from _cut(held, begin, [(k * hop, k * hop + size) for k in range(count)], path, hop)
            held, begin = held[count * hop :], begin + count * hop
    rest = [(start, min(start + size, len(held))) for start in range(0, len(held), hop)]
    yield from _cut(held, begin, [(a, b) for a, b in rest if begin + a == 0 or b - a >= size / 4], path, hop)


def _cut(held: Waveform, begin: int, spans: list[tuple[int, int]], path: str, hop: int) -> Iterator[Segment]:
    # Frames of 10 ms fall together only where windows begin a whole number of them apart.
    stretch = SharedBlock(held) if len(spans) > 1 and hop % _SHIFT == 0 else None
    for first, end in spans:
        at = (begin + first) / SAMPLE_RATE, (begin + end) / SAMPLE_RATE
        yield Segment(path, held[first:end], *at, stretch, first // _SHIFT)


def _read_ahead(clips: Iterable[Clip]) -> Iterator[Segment | Failure]:
    coming: deque[Future[Segment | Failure]] = deque()
    pool = ThreadPoolExecutor(min(READ_AHEAD, cpu_count() or 1), "cl-ast-reads-clips")
    try:
        for clip in clips:
            coming.append(pool.submit(_read, clip))
            if not isinstance(clip, str | Path):
                coming[-1].exception()  # an open file is the caller's: read before the next clip is asked for
            if len(coming) > READ_AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read(clip: Clip) -> Segment | Failure:
    try:
        return Segment(_called(clip), audio.read(clip))
    except AudioError as error:
        return Failure(_called(clip), error)


def _called(clip: Clip) -> str:
    return str(clip) if isinstance(clip, str | Path) else "-"
