"""Negatives: a folder of sounds that are none of a task's classes, cut into pieces as long as the task's clips."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cl_ast.audio import reading
from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.continual.routing_clips import MOST, audio_in, resolved
from cl_ast.errors import StreamError

FEWEST = 10  # pieces; fewer say too little of what else there is to hear
_MOST_SECONDS = 600.0  # of each file


@dataclass(frozen=True, slots=True)
class NegativeClips:
    """The negatives of a task: audio files in a folder, which is recorded for the next time."""

    folder: Path
    paths: Sequence[Path]

    def pieces(self, seconds: float) -> Iterator[list[Waveform]]:
        """Yield for each file its pieces of so many seconds, evenly from the file; of all files some 600 pieces.

        Of a long file, the first ten minutes are used.

        Raises:
            AudioError: a file cannot be read.
        """
        samples, share = max(1, round(seconds * SAMPLE_RATE)), max(1, MOST // len(self.paths))
        for path in self.paths:
            yield _evenly(_beginning(path), samples, share)

    def require_enough(self, seconds: float) -> None:
        """Read as many files as it takes to see that there are enough pieces of so many seconds.

        Raises:
            StreamError: there are not.
            AudioError: a file cannot be read.
        """
        count = 0
        for pieces in self.pieces(seconds):
            count += len(pieces)
            if count >= FEWEST:
                return
        raise StreamError(
            f"{self.folder} has {count} pieces of {seconds:g} s, as long as the task's clips; give at least {FEWEST} "
            "as negatives"
        )


def negatives_in(folder: Path) -> NegativeClips:
    """Return the audio files of a folder and of the folders in it; their labels do not matter.

    Of more than 600 files, 600 are used.

    Raises:
        StreamError: the folder is missing, cannot be read, or has no audio.
    """
    root = resolved(folder)
    paths = audio_in(root)
    step = len(paths) / min(len(paths), MOST)
    return NegativeClips(root, [paths[int(place * step)] for place in range(min(len(paths), MOST))])


def _beginning(path: Path) -> Waveform:
    found: list[Waveform] = []
    with closing(reading.stream(path)) as blocks:
        for block in blocks:
            found.append(block)
            if sum(map(len, found)) >= _MOST_SECONDS * SAMPLE_RATE:
                break
    return np.concatenate(found)


def _evenly(waveform: Waveform, samples: int, most: int) -> list[Waveform]:
    """Return at most so many pieces of so many samples, evenly from the whole; a shorter clip is a piece of its own."""
    starts = np.arange(max(1, len(waveform) // samples)) * samples
    chosen = np.unique(np.linspace(0, len(starts) - 1, min(most, len(starts))).round().astype(int))
    return [waveform[start : start + samples] for start in starts[chosen]]
