"""What `cl-ast listen` does beside finding events: reads ahead, shows what goes on, saves clips, and runs a program."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from rich.live import Live

from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.errors import ClAstError
from cl_ast.events.clips import clip_name, write_clip
from cl_ast.events.sources import Piece
from cl_ast.terminal.output import warn
from cl_ast.terminal.rendering.console import console
from cl_ast.terminal.rendering.layout import line

if TYPE_CHECKING:
    from cl_ast.events import Event, ScoredWindow
    from cl_ast.events.raw_sound import Ring

_AHEAD = 4  # pieces that are read before they are needed, of what can wait
_POLL = 0.2  # seconds between two looks at whether to stop
_QUIETEST = -60.0  # dB below full scale, at the left end of the level
_BAR = 12  # letters


@contextmanager
def stop_on_ctrl_c() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C sets; the second time, Ctrl-C leaves the command as it always does."""
    stopped = threading.Event()

    def handle(number: int, frame: object) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)

    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def until(pieces: Iterator[Piece], stopped: threading.Event, *, waits: bool) -> Iterator[Piece | ClAstError]:
    """Yield pieces, which a thread reads, until they end or are stopped; at last the error that ended them, if one did.

    Args:
        waits: whether the source waits until its pieces are taken, as a pipe does. Else all that came meanwhile is
            one piece, so that its user sees how far behind it is.
    """
    queue: Queue[Piece | ClAstError | None] = Queue(_AHEAD if waits else 0)

    def read() -> None:
        ended: ClAstError | None = None
        try:
            for piece in pieces:
                queue.put(piece)
        except ClAstError as error:
            ended = error
        queue.put(ended)

    threading.Thread(target=read, name="cl-ast-listens", daemon=True).start()
    while not stopped.is_set():
        try:
            found = [queue.get(timeout=_POLL)]
        except Empty:
            continue
        while not waits and not queue.empty():
            found.append(queue.get())
        several = [one for one in found if isinstance(one, Piece)]
        if several:
            yield Piece(
                np.concatenate([one.recorded for one in several]), np.concatenate([one.waveform for one in several])
            )
        last = found[-1]
        if not isinstance(last, Piece):
            if last is not None:
                yield last
            return


class Listening:
    """A line on a terminal that shows what goes on: the level, the last window's labels, what sounds, the lag."""

    def __init__(self, *, quiet: bool) -> None:
        shown = console(err=True)
        self._live = Live(console=shown, transient=True, refresh_per_second=8)
        self._is_shown = shown.is_terminal and not quiet
        self._lost = 0  # samples of windows that were left out

    def __enter__(self) -> Listening:
        if self._is_shown:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the line away while something else is printed."""
        if not self._is_shown:
            yield
            return
        self._live.stop()
        yield
        self._live.start()

    def show(self, waveform: Waveform, windows: Sequence[ScoredWindow], sounding: Sequence[Event], lost: int) -> None:
        """Show the state after a piece of sound.

        Args:
            windows: those that were scored since the last time.
            lost: samples of windows that were left out since.
        """
        self._lost += lost
        if not self._is_shown or not windows:
            return
        parts = [_level(waveform)]
        if self._lost:
            parts.append(f"lag: {self._lost / SAMPLE_RATE:.1f} s left out")
        if sounding:
            parts.append("now: " + ", ".join(f"{one.label}" for one in sounding))
        parts.append(_labels(windows[-1]))
        shown = line("  ".join(parts))
        shown.no_wrap, shown.overflow = True, "ellipsis"
        self._live.update(shown)


def _level(waveform: Waveform) -> str:
    """Return a bar for the level of a stretch of sound."""
    power = float(np.mean(np.square(waveform, dtype=np.float64))) if len(waveform) else 0.0
    decibels = max(_QUIETEST, 10 * np.log10(power + 1e-12))
    full = min(_BAR, round(_BAR * (1 - decibels / _QUIETEST)))
    return f"[{'#' * full}{' ' * (_BAR - full)}] {decibels:4.0f} dB"


def _labels(window: ScoredWindow) -> str:
    """Return the best labels of a window, each task's own, or that no task fits."""
    if not window.tasks:
        return f"unknown (nearest: {window.nearest})"
    best = []
    for one in window.tasks:
        scores = one.scores.mean(axis=0)
        order = scores.argsort()[::-1][: 3 if len(window.tasks) == 1 else 1]
        best.append(f"{one.task}: " + ", ".join(f"{one.labels[place]} {scores[place]:.2f}" for place in order))
    return "; ".join(best)


class Actions:
    """Saves the clip of each event, and runs a program. A failure is said once, and the events go on."""

    def __init__(self, ring: Ring, folder: Path | None, program: str | None, name: str) -> None:
        self._ring = ring
        self._folder = folder
        self._command = None if program is None else shlex.split(program)
        self._name = name
        self._running: list[subprocess.Popen[bytes]] = []

    def __call__(self, event: Event) -> None:
        """Save an event's clip, and run the program."""
        if self._folder is not None:
            try:
                samples = self._ring.cut(event.first, event.stop)
                write_clip(self._folder / clip_name(self._name, event), samples, self._ring.rate)
            except ClAstError as error:
                self._folder = None
                warn(f"{error}; no more clips are saved, and the events go on")
        if self._command is not None:
            self._run(self._command, event)

    def _run(self, command: list[str], event: Event) -> None:
        """Start the program, which gets the event on its standard input: no label is ever part of a command line."""
        self._running = [one for one in self._running if one.poll() is None]
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE)
            assert process.stdin is not None
            with process.stdin as pipe:
                pipe.write(json.dumps(event.to_json()).encode() + b"\n")
        except BrokenPipeError:  # it does not read
            pass
        except OSError as error:
            self._command = None
            warn(f"{command[0]}: cannot be run ({error.strerror}); it is not run any more, and the events go on")
            return
        self._running.append(process)
