"""Labelled clips to batches of features: decoded in threads, kept in memory while they fit."""

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
    """A split of a task; targets are places in `labels`."""
    index = {label: position for position, label in enumerate(labels)}
    targets = [index[clip.label] for clip in clips]
    return ClipSet([clip.path for clip in clips], targets, front_end, device=device, read=read)


class ClipSet:
    """Features of labelled clips under one front end.

    They are computed once and kept where they fit into `cache_bytes`, else computed again each time.

    Attributes:
        states: what a training computed of them once (frozen.py), and what that depends on.
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
        self.states: tuple[Hashable, Tensor] | None = None
        self.room = cache_bytes - size if self._cached else cache_bytes  # bytes that `states` may take

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, stage: str, progress: Progress = silent) -> None:
        """Read every clip now, once, so that a clip that cannot be read is known before training starts."""
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
        """Features (batch, *shape of the front end) and targets (batch,), on the device."""
        features = self._compute(indices) if self._features is None else self._features[list(indices)]
        return self.moved(features, self.targets[list(indices)])

    def moved(self, values: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Both on the device; from pinned memory, so that the copy waits for nothing."""
        if self.device.type == "cuda":
            values, targets = values.pin_memory(), targets.pin_memory()
        return values.to(self.device, non_blocking=True), targets.to(self.device, non_blocking=True)

    def _compute(self, indices: Sequence[int]) -> Tensor:
        return self.front_end(self._read([self.paths[index] for index in indices]))
