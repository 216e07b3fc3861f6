"""One answer for a clip that is longer than its task takes: the windows that sound, and the mean of their logits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.audio.recordings import MUCH, Recording, sounding, window_starts
from cl_ast.audio.windows import Segment


@dataclass(frozen=True, slots=True)
class Cut:
    """The windows of a clip that are classified.

    Attributes:
        starts: where they begin, in samples.
        size: how long each is, in samples.
        windows: how many windows the clip has, with those that do not sound.
    """

    starts: Sequence[int]
    size: int
    windows: int

    @property
    def span(self) -> tuple[float, float]:
        """From where to where the windows reach, in seconds."""
        return self.starts[0] / SAMPLE_RATE, (self.starts[-1] + self.size) / SAMPLE_RATE

    def waveforms(self, clip: Segment | Recording | Waveform) -> Iterator[Waveform]:
        """Yield the windows of the clip. Raises AudioError if the clip's file cannot be read."""
        return as_recording(clip).cut(self.starts, self.size)


def cut_of(clip: Segment | Recording | Waveform, seconds: float) -> Cut | None:
    """Return the windows of a clip that sound, for a task that takes so many seconds; None for a clip as it is.

    Both answers by name and routed ones, and measuring, cut clips here.

    Raises:
        AudioError: the clip's file cannot be read to its end.
    """
    recording = as_recording(clip)
    samples = recording.samples if isinstance(clip, Recording) else len(_waveform(clip))
    size = round(seconds * SAMPLE_RATE)
    if samples <= size + MUCH * SAMPLE_RATE:
        return None
    starts = window_starts(samples, size)
    return Cut(sounding(recording.loudness, starts, size), size, len(starts))


def joined(logits: Sequence[Tensor] | Tensor) -> Tensor:
    """Return the logits (classes,) of a clip for those of its windows (n, classes): their mean."""
    rows = logits if isinstance(logits, Tensor) else torch.stack(list(logits))
    return rows[0] if len(rows) == 1 else rows.mean(dim=0)


def as_recording(clip: Segment | Recording | Waveform) -> Recording:
    """Return any form of a clip as a recording."""
    return clip if isinstance(clip, Recording) else Recording.of(_waveform(clip))


def _waveform(clip: Segment | Waveform) -> Waveform:
    return clip.waveform if isinstance(clip, Segment) else clip
