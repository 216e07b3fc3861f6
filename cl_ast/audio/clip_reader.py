"""Reads many clips: whole files and labelled parts of recordings, in threads."""

from collections import deque
from collections.abc import Generator, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import accumulate
from os import cpu_count
from pathlib import Path

import numpy as np

from cl_ast.audio import reading
from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.errors import AudioError
from cl_ast.excerpts import Excerpt, Place


class ClipReader:
    """Reads clips in as many calls as are wanted, and decodes a recording once for all of its excerpts.

    This holds if they come in the order of their time, as the splits of a task have them. The recording that a call
    ends with stays open, and the next call goes on there.
    """

    def __init__(self) -> None:
        self._last: _ExcerptReader | None = None

    def read(self, places: Sequence[Place]) -> list[Waveform]:
        """Read clips in threads, in order. Raises AudioError for the first that cannot be read."""
        if not places:
            return []
        files: dict[Path, list[Place]] = {}
        for place in dict.fromkeys(places):
            files.setdefault(_file_of(place), []).append(place)
        before = {} if self._last is None else {self._last.path: self._last}
        recordings = {path: before.get(path) or _ExcerptReader(path) for path in files}
        self._last = recordings[_file_of(places[-1])]
        try:
            if len(files) == 1:
                ((path, clips),) = files.items()
                found = _read_clips(recordings[path], clips)
            else:
                with ThreadPoolExecutor(min(8, cpu_count() or 1)) as pool:
                    read_files = pool.map(_read_clips, (recordings[path] for path in files), files.values())
                    found = {place: waveform for clips in read_files for place, waveform in clips.items()}
        finally:
            for one in (*recordings.values(), *before.values()):
                if one is not self._last:
                    one.close()
        return [found[place] for place in places]

    def close(self) -> None:
        """Close the recording that is open; reading opens it again."""
        if self._last is not None:
            self._last.close()


def read_all(places: Sequence[Place]) -> list[Waveform]:
    """Read clips in threads, in order. Raises AudioError for the first that cannot be read.

    Excerpts of one recording are read in one pass over it.
    """
    with closing(ClipReader()) as reader:
        return reader.read(places)


def clip_key(place: Place) -> Hashable:
    """Return a key that differs between clips, and that changes when the file of a clip is written again."""
    if isinstance(place, Excerpt):
        return clip_key(place.path), place.start, place.end
    path = place
    try:
        found = path.stat()
    except OSError:
        return path, None  # The error is reported when the file is read.
    return path, found.st_mtime_ns, found.st_size


def _file_of(place: Place) -> Path:
    return place.path if isinstance(place, Excerpt) else place


def _read_clips(recording: "_ExcerptReader", clips: Sequence[Place]) -> dict[Place, Waveform]:
    """Return clips that are in one file: the whole of it, excerpts of it, or both."""
    found: dict[Place, Waveform] = {}
    if recording.path in clips:
        found[recording.path] = reading.read(recording.path)
    excerpts = sorted(clip for clip in clips if isinstance(clip, Excerpt))
    return found | {one: recording.read(one) for one in excerpts}


class _ExcerptReader:
    """Reads excerpts of one recording, which is decoded once for those that come in the order of their begin.

    Besides an excerpt, at most a block of the recording is in memory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._blocks: Generator[Waveform, None, None] | None = None
        self._key: Hashable = None  # of the file when it was opened
        self._kept: deque[Waveform] = deque()
        self._first = self._stop = 0  # from where to where blocks are kept, in samples

    def read(self, excerpt: Excerpt) -> Waveform:
        """Return exactly the samples that `reading.read` gives there; fewer where the recording ends before.

        Raises:
            AudioError: the recording cannot be read that far, or ends before the excerpt begins.
        """
        start, end = round(excerpt.start * SAMPLE_RATE), round(excerpt.end * SAMPLE_RATE)
        try:
            self._decode(start, end)
        except Exception:
            self.close()
            raise
        begins = accumulate(map(len, self._kept), initial=self._first)
        each = zip(begins, self._kept, strict=False)
        parts = [block[max(0, start - at) : end - at] for at, block in each if start < at + len(block) and at < end]
        if not parts:
            raise AudioError(
                f"{self.path}: ends before {excerpt.start:.6g} s, where a labelled clip begins; correct its labels"
            )
        return np.concatenate(parts)

    def _decode(self, start: int, end: int) -> None:
        """Decode until the samples from `start` to `end` are kept.

        It begins with the file again where they were passed, or where the file was written again.
        """
        key = clip_key(self.path)
        if self._blocks is None or start < self._first or key != self._key:
            self.close()
            self._blocks, self._key = reading.stream(self.path), key
        self._forget(start)
        while self._stop < end and (block := next(self._blocks, None)) is not None:
            self._kept.append(block)
            self._stop += len(block)
            self._forget(start)

    def close(self) -> None:
        """Close the file; the next excerpt is read from the beginning of the recording."""
        if self._blocks is not None:
            self._blocks.close()
        self._blocks, self._kept, self._first, self._stop = None, deque(), 0, 0

    def _forget(self, sample: int) -> None:
        """Forget the blocks that end before a sample."""
        while self._kept and self._first + len(self._kept[0]) <= sample:
            self._first += len(self._kept.popleft())
