"""The interface of a kind of router, and the table of all kinds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

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


class Fits(NamedTuple):
    """How well described clips fit a task, and what they fit better.

    Attributes:
        values: (n,) in [-2, 1]; the fit of the task's state, minus 1 where the clip fits something else better.
        noise: (n,) bool; whether that is noise.
        negatives: (n,) bool; whether that is the task's negatives.
    """

    values: Tensor
    noise: Tensor
    negatives: Tensor


class Negatives:
    """Sounds that are none of a task's classes: a clip that the router would rather send to them does not fit the task.

    They are compared with this task alone, so that they change nothing for other tasks.
    """

    def __init__(self, kind: str, task: State, state: State) -> None:
        """
        Args:
            kind: the kind of router, one of `KINDS`.
            task: the task's state.
            state: that of the negatives, learned as if they were a task.
        """
        self.state = state
        self._scores = KINDS[kind].chooser([task, state])

    def are_nearer(self, described: Tensor) -> Tensor:
        """Return whether each described clip (n, d) is nearer to the negatives than to the task: (n,)."""
        scores = self._scores(described)
        return scores[:, 1] > scores[:, 0]


def fits_of(state: State, described: Tensor, noise: Tensor | None, negatives: Negatives | None) -> Fits:
    """Return how well described clips (n, d) fit a task.

    Some tasks have sounds like noise, such as rain; without the comparisons, noise would be accepted as rain.

    Args:
        noise: the `noise_fits` (n,) of the same clips.
    """
    fits = state.fit(described)
    neither = torch.zeros(len(fits), dtype=torch.bool)
    noisy = neither if noise is None else noise > fits
    negative = neither if negatives is None else negatives.are_nearer(described)
    return Fits(fits - (noisy | negative).float(), noisy, negative)


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
