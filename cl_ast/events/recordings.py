"""Finds the events of a recording, which is read in blocks: hours need no more memory than minutes."""

from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial
from itertools import repeat
from pathlib import Path

from cl_ast.audio import reading
from cl_ast.audio.reading import SAMPLE_RATE, AudioInput
from cl_ast.audio.windows import Segment
from cl_ast.batching import ahead
from cl_ast.errors import AudioError
from cl_ast.events.event import Event
from cl_ast.events.scoring import WindowScorer
from cl_ast.events.stream import StreamDetector

GROUP = 32  # windows that are scored at once


class EventsOf:
    """The events of one recording: iterate over it once, and read what else is known afterwards.

    Events come as they end, among them candidates that were rejected (`Event.why`).

    Attributes:
        path: the recording.
        notes: what a listener would miss, such as bytes that were left out.
        trouble: why it could not be read to its end, or at all; None where it could.
    """

    def __init__(self, clip: AudioInput, scorer: WindowScorer) -> None:
        self.path = str(clip) if isinstance(clip, str | Path) else "-"
        self.notes: list[str] = []
        self.trouble: AudioError | None = None
        self._clip = clip
        self._scorer = scorer
        self._detector = StreamDetector(scorer, self.path, group=GROUP)

    @property
    def samples(self) -> int:
        """How long it is, as far as it could be read, in samples at 16 kHz."""
        return self._detector.cutter.samples

    @property
    def seconds(self) -> float:
        """How long it is, as far as it could be read."""
        return self.samples / SAMPLE_RATE

    def __iter__(self) -> Iterator[Event]:
        """Yield the events. Raises NotFiniteError and CorruptRegistryError, as `WindowScorer` does."""
        with closing(self._groups()) as groups, closing(ahead(repeat(partial(next, groups, None)))) as coming:
            for group in coming:
                if group is None:
                    break
                yield from self._detector.take(group)
        yield from self._detector.finish()

    def _groups(self) -> Generator[list[Segment], None, None]:
        """Yield the groups of windows that are complete, as far as the recording can be read."""
        cutter = self._detector.cutter
        try:
            with closing(reading.stream(self._clip, notes=self.notes, lenient=True)) as blocks:
                for block in blocks:
                    for group in cutter.add(block):
                        self._scorer.prepare(group)
                        yield group
        except AudioError as error:
            self.trouble = error
