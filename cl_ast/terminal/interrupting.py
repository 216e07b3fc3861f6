"""Ctrl-C during a training: once ends the training and keeps its best weights, twice leaves the command."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cl_ast.progress import Progress, Step

_SAID = "stopping after this step and keeping the best weights; Ctrl-C again leaves, and keeps nothing"


class CtrlC:
    """Takes note of Ctrl-C while a task is trained; the training asks it after each step whether to end.

    Before and after the training, and the second time, Ctrl-C leaves the command as it always does.
    """

    def __init__(self) -> None:
        self._is_training = False
        self._pressed = False
        # What is said is said by a thread, since a signal may come in the middle of a line that is being printed. Of
        # Python's ways to tell a thread something, this queue is the one that a signal handler may use.
        self._lines: SimpleQueue[str | None] = SimpleQueue()

    def __call__(self) -> bool:
        """Return whether the training ends now."""
        self._is_training = True
        return self._pressed

    def watching(self, progress: Progress) -> Progress:
        """Return a callback that hands progress on, and learns from it when the training is over."""

        def watch(step: Step) -> None:
            self._is_training = self._is_training and step.stage == "training"
            progress(step)

        return watch

    @contextmanager
    def installed(self, say: Callable[[str], None]) -> Iterator[None]:
        """Handle Ctrl-C inside the block, unless somebody else does or it is switched off."""
        handled_as_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if not handled_as_usual or threading.current_thread() is not threading.main_thread():
            yield
            return
        speaker = threading.Thread(target=self._speak, args=(say,), name="cl-ast-says-stopping", daemon=True)
        speaker.start()
        signal.signal(signal.SIGINT, self._handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._lines.put(None)
            speaker.join()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._pressed or not self._is_training:
            signal.default_int_handler(number, frame)
        self._pressed = True
        self._lines.put(_SAID)

    def _speak(self, say: Callable[[str], None]) -> None:
        for line in iter(self._lines.get, None):
            say(line)
