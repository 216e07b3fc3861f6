"""The one interface of a router, and the table of those that there are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from cl_ast.router import discriminant, prototypes, ridge


class State(Protocol):
    """What a task adds to a router; it is learned from that task's clips alone."""

    def tensors(self) -> dict[str, Tensor]: ...

    def fit(self, described: Tensor) -> Tensor:
        """How well clips (n, d) fit this task, whatever else there is: (n,) in [-1, 1]. What rejects."""
        ...


def noise_fits(noise: State | None, described: Tensor) -> Tensor | None:
    """How well clips (n, d) fit noise, once for all tasks: (n,)."""
    return None if noise is None else noise.fit(described)


def fit_beside(noise: Tensor | None, state: State, described: Tensor) -> Tensor:
    """How well clips (n, d) fit a task, less 1 where they fit noise better: (n,) in [-2, 1].

    Rain is nearly noise: without this, noise would be nearly rain.

    Args:
        noise: (n,) what `noise_fits` says of the same clips.
    """
    fits = state.fit(described)
    return fits if noise is None else fits - (noise > fits).float()


class Kind(Protocol):
    """A router: how a task's state is learned, and how those of all tasks choose."""

    @property
    def margin(self) -> float:
        """By how much the nearest task may lead and still go to the tie-break; chosen on validation clips."""
        ...

    def names(self) -> frozenset[str]:
        """Of a state's tensors."""
        ...

    def learn(self, described: Tensor, targets: Tensor, generator: torch.Generator) -> State:
        """From a task's described clips (n, d) and their classes (n,)."""
        ...

    def restore(self, tensors: Mapping[str, Tensor], dimensions: int) -> State:
        """Raises CorruptRegistryError for a state that none of its learning could have made."""
        ...

    def chooser(self, states: Sequence[Any]) -> Callable[[Tensor], Tensor]:
        """Described clips (n, d) to a score a task (n, tasks), of which the highest is chosen."""
        ...


KINDS: Mapping[str, Kind] = {
    "discriminant": discriminant.DiscriminantRouter(),
    "prototypes": prototypes.PrototypeRouter(),
    "ridge": ridge.RidgeRouter(),
}
DEFAULT = "discriminant"
