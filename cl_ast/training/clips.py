"""Labelled clips as batches of features: decoded in threads, and kept in memory where they fit."""

from collections.abc import Callable, Hashable, Sequence
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from cl_ast.audio.front_ends import FrontEnd
from cl_ast.audio.reading import Waveform, read_all
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
) -> "ClipSet":
    """Return one split of a task as a `ClipSet` whose targets are positions in `labels`."""
    index = {label: position for position, label in enumerate(labels)}
    targets = [index[clip.label] for clip in clips]
    return ClipSet([clip.path for clip in clips], targets, front_end, device=device, read=read)


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
    ) -> None:
        self.paths = list(paths)
        self.targets = torch.tensor(targets, dtype=torch.long)
        self.front_end = front_end
        self.device = torch.device(device)
        self._read = read
        size = len(self.paths) * prod(front_end.shape) * 4
        self._cached = size <= cache_bytes
        self._features: Tensor | None = None
        self.states = StateCache(cache_bytes - size if self._cached else cache_bytes)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def caches(self) -> bool:
        """Whether the features of all clips fit into `cache_bytes`, so that they are computed once."""
        return self._cached

    def load(self, stage: str, progress: Progress = silent) -> None:
        """Read every clip now, so that one that cannot be read is known before training starts."""
        if self._features is not None:
            return
        kept = torch.empty(len(self) if self._cached else 0, *self.front_end.shape)
        for part in chunks(len(self), _CHUNK):
            features = self._compute(part)
            if self._cached:
                kept[part.start : part.stop] = features
            progress(Step(stage, part.stop, len(self)))
        self._features = kept if self._cached else None

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
        return self.front_end(self._read([self.paths[index] for index in indices]))
