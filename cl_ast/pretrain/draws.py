"""Draws random tensors on any device, without the host waiting for it."""

import numpy as np
import torch
from torch import Tensor


class Draws:
    """The random numbers of one batch. They depend on the key and on the kind of device alone.

    A training makes new draws for each step from its number, so it can go on at any step without a saved random state.

    Args:
        device: where the tensors are made.
        key: whole numbers, for example the seed of the training, the number of the process, and the step.
    """

    def __init__(self, device: torch.device | str, *key: int) -> None:
        self.device = torch.device(device)
        # The sizes of tensors are drawn on the host, because reading them from a GPU would make the host wait.
        self.host = np.random.default_rng(key)
        self._generator = torch.Generator(self.device).manual_seed(int(self.host.integers(2**63)))

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal numbers."""
        return torch.randn(shape, generator=self._generator, device=self.device)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Return uniform numbers from `low` up to `high`."""
        return torch.rand(shape, generator=self._generator, device=self.device).mul_(high - low).add_(low)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Return whole numbers from `low` to `high - 1`, all equally likely."""
        return torch.randint(low, high, shape, generator=self._generator, device=self.device)

    def chance(self, probability: float, *shape: int) -> Tensor:
        """Return booleans that are true with this probability."""
        return self.uniform(0, 1, *shape) < probability

    def order(self, size: int) -> Tensor:
        """Return the numbers 0 to `size - 1` in random order (size,)."""
        return self.uniform(0, 1, size).argsort()

    def some(self, probability: float, size: int) -> Tensor:
        """Return the indices (n,) of the rows of a batch that are chosen, each with this probability."""
        return self.order(size)[: int(self.host.binomial(size, probability))]
