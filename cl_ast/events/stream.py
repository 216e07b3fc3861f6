"""From samples to events: sound in pieces of any length is cut into windows, scored, and becomes events."""

from collections.abc import Callable

from cl_ast.audio.reading import Waveform
from cl_ast.audio.windows import Segment
from cl_ast.events.cutting import WindowCutter
from cl_ast.events.detector import EventDetector
from cl_ast.events.event import Event
from cl_ast.events.grid import ScoredWindow
from cl_ast.events.scoring import WindowScorer
from cl_ast.events.sticky import StickyRouting

Watch = Callable[[ScoredWindow], None]


def ignored(_: ScoredWindow) -> None:
    """Do nothing with a window that was scored."""


class StreamDetector:
    """Finds events in one recording or live stream, whose samples come in pieces of any length.

    The same samples give the same events, bit-identical, however they were cut into pieces. A recording is detected by
    the same object as a stream. Only another `group` changes the last digits of scores: a matrix product of another
    size is summed in another order.

    Attributes:
        cutter, detector: what cuts the windows, and what makes events of their scores.
    """

    def __init__(
        self,
        scorer: WindowScorer,
        path: str = "-",
        *,
        group: int = 1,
        watch: Watch = ignored,
    ) -> None:
        """
        Args:
            scorer: scores the windows, by the settings that it was made with.
            path: the recording, as its events name it.
            group: how many windows are scored at once; 1 answers each as soon as it is complete.
            watch: is called with each window that was scored.
        """
        self.cutter = WindowCutter(path, scorer.size, scorer.hop, group)
        self.detector = EventDetector(path, scorer.settings, scorer.step, scorer.hop)
        self._score = StickyRouting(scorer) if scorer.settings.route == "sticky" else scorer
        self._watch = watch

    def add(self, samples: Waveform) -> list[Event]:
        """Take the next samples, mono at 16 kHz; return the events that are over, and candidates that were rejected."""
        return [event for windows in self.cutter.add(samples) for event in self.take(windows)]

    def keep_up(self, samples: Waveform, most: int) -> tuple[list[Event], int]:
        """Take the next samples as `add` does, but leave the oldest windows out where more than `most` are complete.

        Returns the events that are over, and how many windows were left out.
        """
        self.cutter.put(samples)
        dropped = self.cutter.drop(self.cutter.ready - most)
        return self.add(samples[:0]), dropped

    def take(self, windows: list[Segment]) -> list[Event]:
        """Take windows of this detector's cutter, which another thread may have cut; return as `add` does."""
        found = []
        for window in self._score(windows):
            found += self.detector.add(window)
            self._watch(window)
        return found

    def finish(self) -> list[Event]:
        """End the recording, and return the events that are left."""
        found = [event for windows in self.cutter.finish() for event in self.take(windows)]
        return found + self.detector.finish(self.cutter.samples)

    @property
    def sounding(self) -> list[Event]:
        """The events that go on now."""
        return self.detector.sounding
