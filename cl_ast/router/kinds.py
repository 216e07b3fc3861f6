"""The interface of a kind of router, and the table of all kinds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from cl_ast.router import discriminant, prototypes, ridge


class State(Protocol):
    """A task's part of a router, learned from that task's clips alone."""

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that a file stores."""
        ...

    def fit(self, described: Tensor) -> Tensor:
        """Return how well described clips (n, d) fit this task, regardless of other tasks: (n,) in [-1, 1].

        The calibration turns this into the decision whether a clip belongs to the task.
        """
        ...


def noise_fits(noise: State | None, described: Tensor) -> Tensor | None:
    """Return how well described clips (n, d) fit noise: (n,), the same for all tasks."""
    return None if noise is None else noise.fit(described)


def fit_or_noise(noise: Tensor | None, state: State, described: Tensor) -> Tensor:
    """Return how well described clips (n, d) fit a task, minus 1 where they fit noise better: (n,) in [-2, 1].

    Some tasks have sounds like noise, such as rain; without the comparison, noise would be accepted as rain.

    Args:
        noise: the `noise_fits` (n,) of the same clips.
    """
    fits = state.fit(described)
    return fits if noise is None else fits - (noise > fits).float()


class Kind(Protocol):
    """A kind of router: how a task's state is learned, and how a task is chosen from the states of all tasks."""

    @property
    def margin(self) -> float:
        """The lead of the nearest task over the second below which the tie-break decides; set on validation clips."""
        ...

    def names(self) -> frozenset[str]:
        """Return the names of a state's tensors."""
        ...

    def learn(self, described: Tensor, targets: Tensor, generator: torch.Generator) -> State:
        """Learn a task's state from its described clips (n, d) and their classes (n,)."""
        ...

    def restore(self, tensors: Mapping[str, Tensor], dimensions: int) -> State:
        """Return the state with these tensors. Raises CorruptRegistryError if `learn` cannot have made them."""
        ...

    def chooser(self, states: Sequence[Any]) -> Callable[[Tensor], Tensor]:
        """Return a function from described clips (n, d) to a score for each task (n, tasks); the highest is chosen."""
        ...


KINDS: Mapping[str, Kind] = {
    "discriminant": discriminant.DiscriminantRouter(),
    "prototypes": prototypes.PrototypeRouter(),
    "ridge": ridge.RidgeRouter(),
}
DEFAULT = "discriminant"
