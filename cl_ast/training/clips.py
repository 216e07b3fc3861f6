"""Labelled clips as batches of features: decoded in threads, and kept in memory where they fit."""

from collections.abc import Callable, Hashable, Sequence
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from cl_ast.audio.front_ends import FrontEnd
from cl_ast.audio.reading import SAMPLE_RATE, Waveform, read_all
from cl_ast.audio.recordings import MUCH, Loudness, loudest, sounding, window_starts
from cl_ast.batching import chunks
from cl_ast.progress import Progress, Step, silent
from streams import Clip

CACHE_BYTES = 2**31
Read = Callable[[Sequence[Path]], list[Waveform]]
_CHUNK = 64


def labelled(
    clips: Sequence[Clip],
    labels: Sequence[str],
    front_end: FrontEnd,
    device: torch.device | str = "cpu",
    read: Read = read_all,
    crop: str = "start",
) -> "ClipSet":
    """Return one split of a task as a `ClipSet` whose targets are positions in `labels`.

    Args:
        crop: what is taken of clips that are longer than the front end takes, one of `CROPS`. With "all", each window
            that sounds is a clip of the set.

    Raises:
        AudioError: with "all", a clip cannot be read.
    """
    index = {label: position for position, label in enumerate(labels)}
    if crop != "all":
        targets = [index[clip.label] for clip in clips]
        return ClipSet([clip.path for clip in clips], targets, front_end, device=device, read=read, crop=crop)
    paths, targets, starts = [], [], []
    for part in chunks(len(clips), _CHUNK):
        mine = [clips[number] for number in part]
        for clip, waveform in zip(mine, read([clip.path for clip in mine]), strict=True):
            own = _all_windows(waveform, front_end)
            starts += own
            paths += [clip.path] * len(own)
            targets += [index[clip.label]] * len(own)
    return ClipSet(paths, targets, front_end, device=device, read=read, starts=starts)


def _all_windows(waveform: Waveform, front_end: FrontEnd) -> list[int | None]:
    """Return where the windows of a clip begin that sound; None for a clip that is not too long."""
    size = _too_long(waveform, front_end)
    if size is None:
        return [None]
    return list(sounding(Loudness([waveform]), window_starts(len(waveform), size), size))


def _too_long(waveform: Waveform, front_end: FrontEnd) -> int | None:
    """Return how many samples the front end takes, if the clip is longer by more than 0.1 s."""
    size = round(front_end.seconds * SAMPLE_RATE)
    return size if len(waveform) > size + MUCH * SAMPLE_RATE else None


class StateCache:
    """The frozen layers' output for every clip of a set, which trainings of several methods may share.

    It holds the output of one computation at a time.
    """

    def __init__(self, room: int) -> None:
        """
        Args:
            room: how many bytes it may take.
        """
        self.room = room
        self._key: Hashable = None
        self._states: Tensor | None = None

    @property
    def bytes(self) -> int:
        """How many bytes are in use."""
        return 0 if self._states is None else self._states.numel() * self._states.element_size()

    def get(self, key: Hashable) -> Tensor | None:
        """Return the states (clips, …) that were kept under `key`, or None."""
        return self._states if key == self._key else None

    def keep(self, key: Hashable, states: Tensor) -> None:
        """Keep states in the place of earlier ones."""
        self._key, self._states = key, states

    def clear(self) -> None:
        """Forget what was kept, so that its memory is free for what comes next."""
        self._key, self._states = None, None


class ClipSet:
    """Features of labelled clips under one front end.

    They are computed once and kept where they fit into `cache_bytes`; else they are computed again each time.

    Attributes:
        longer: the clips that were longer than the front end takes, once they were read, in order.
        states: a cache for the frozen layers' output, within what the features leave of `cache_bytes`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        targets: Sequence[int],
        front_end: FrontEnd,
        *,
        device: torch.device | str = "cpu",
        cache_bytes: int = CACHE_BYTES,
        read: Read = read_all,
        crop: str = "start",
        starts: Sequence[int | None] | None = None,
    ) -> None:
        """
        Args:
            crop: what is taken of a longer clip: "start" or the "loudest" stretch.
            starts: where the stretch of each clip begins instead, in samples; None for what `crop` takes.
        """
        self.paths = list(paths)
        self.longer: dict[Path, None] = {}
        self.targets = torch.tensor(targets, dtype=torch.long)
        self.front_end = front_end
        self.device = torch.device(device)
        self._read = read
        self._crop = crop
        self._starts = [None] * len(self.paths) if starts is None else list(starts)
        self._is_loaded = False
        size = len(self.paths) * prod(front_end.shape) * 4
        self._cached = size <= cache_bytes
        self._features: Tensor | None = None
        self.states = StateCache(cache_bytes - size if self._cached else cache_bytes)

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, stage: str, progress: Progress = silent) -> None:
        """Read every clip now, so that one that cannot be read is known before training starts."""
        if self._is_loaded:
            return
        kept = torch.empty(len(self) if self._cached else 0, *self.front_end.shape)
        for part in chunks(len(self), _CHUNK):
            features = self._compute(part)
            if self._cached:
                kept[part.start : part.stop] = features
            progress(Step(stage, part.stop, len(self)))
        self._features = kept if self._cached else None
        self._is_loaded = True

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return features (batch, *shape of the front end) and targets (batch,) on the device."""
        features = self._compute(indices) if self._features is None else self._features[list(indices)]
        return self.moved(features, self.targets[list(indices)])

    def moved(self, values: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return both on the device; to a GPU they go from pinned memory, so that the copy waits for nothing."""
        if self.device.type == "cuda":
            values, targets = values.pin_memory(), targets.pin_memory()
        return values.to(self.device, non_blocking=True), targets.to(self.device, non_blocking=True)

    def _compute(self, indices: Sequence[int]) -> Tensor:
        found = self._read([self.paths[index] for index in indices])
        return self.front_end([self._stretch(index, one) for index, one in zip(indices, found, strict=True)])

    def _stretch(self, index: int, waveform: Waveform) -> Waveform:
        """Return what is taken of a clip."""
        size = _too_long(waveform, self.front_end)
        if size is None:
            return waveform
        self.longer[self.paths[index]] = None
        start = self._starts[index]
        if start is None and self._crop == "start":
            return waveform
        start = loudest(Loudness([waveform]), size) if start is None else start
        return waveform[start : start + size]
