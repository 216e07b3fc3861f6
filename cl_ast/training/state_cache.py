"""Keeps the output of the frozen layers for a set of clips, on the GPU or in memory, within a number of bytes."""

from collections.abc import Hashable

import torch
from torch import Tensor

CPU = torch.device("cpu")


class StateCache:
    """The frozen layers' output for every clip of a set, which trainings of several methods may share.

    It holds the output of one computation at a time.

    Attributes:
        room: how many bytes it may take in the machine's memory.
        gpu_room: how many it may take on the GPU.
    """

    def __init__(self, room: int, gpu_room: int = 0) -> None:
        self.room = room
        self.gpu_room = gpu_room
        self._key: Hashable = None
        self._states: Tensor | None = None

    @property
    def bytes(self) -> int:
        """How many bytes are in use."""
        return 0 if self._states is None else self._states.numel() * self._states.element_size()

    def place(self, size: int, device: torch.device) -> torch.device | None:
        """Return where states of this many bytes are kept: on the device, on the CPU, or nowhere."""
        if size <= self.gpu_room:
            return device
        return CPU if size <= self.room else None

    def get(self, key: Hashable) -> Tensor | None:
        """Return the states (clips, …) that were kept under `key`, or None."""
        return self._states if key == self._key else None

    def keep(self, key: Hashable, states: Tensor) -> None:
        """Keep states in the place of earlier ones."""
        self._key, self._states = key, states

    def clear(self) -> None:
        """Forget what was kept, so that its memory is free for what comes next."""
        self._key, self._states = None, None
