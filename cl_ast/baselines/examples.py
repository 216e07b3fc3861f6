"""Labelled clips of one or several steps of a stream, as a network takes them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from cl_ast.batching import chunks

_BATCH = 32


class Source(Protocol):
    """Where the inputs of clips come from, all of them of one shape."""

    def inputs(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        """Return the inputs of these clips: one tensor (batch, …), or several where the network takes several."""
        ...


@dataclass(frozen=True, slots=True)
class Vectors:
    """Inputs that are in memory: a vector for each clip.

    Attributes:
        rows: (n, d).
    """

    rows: Tensor

    def inputs(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        return (self.rows[list(rows)],)


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled clips. Those of different sources may have different lengths, and go through a network separately.

    Attributes:
        sources: where the inputs come from.
        places: (n, 2); the position of each clip's source in `sources`, and its row there.
        targets: (n,); the class of each clip, a number that is the same in all steps.
        steps: (n,); the step that each clip is of.
        sizes: (n,); how many bytes it takes to keep each clip.
    """

    sources: tuple[Source, ...]
    places: Tensor
    targets: Tensor
    steps: Tensor
    sizes: Tensor

    @classmethod
    def of(cls, source: Source, rows: Tensor, targets: Tensor, step: int, sizes: Tensor | None = None) -> "Examples":
        """Return clips of one step.

        Args:
            rows, targets: (n,).
            sizes: (n,); zeros by default.
        """
        places = torch.stack([torch.zeros_like(rows), rows], dim=1)
        return cls(
            (source,), places, targets, torch.full_like(rows, step), torch.zeros_like(rows) if sizes is None else sizes
        )

    def __len__(self) -> int:
        return len(self.targets)

    def __add__(self, other: "Examples") -> "Examples":
        sources = list(self.sources)
        moved = []
        for source in other.sources:
            at = next((place for place, known in enumerate(sources) if known is source), len(sources))
            if at == len(sources):
                sources.append(source)
            moved.append(at)
        places = torch.stack([torch.tensor(moved)[other.places[:, 0]], other.places[:, 1]], dim=1)
        return Examples(
            tuple(sources),
            torch.cat([self.places, places]),
            torch.cat([self.targets, other.targets]),
            torch.cat([self.steps, other.steps]),
            torch.cat([self.sizes, other.sizes]),
        )

    def pick(self, indices: Sequence[int] | Tensor) -> "Examples":
        """Return these clips of the examples, in this order."""
        at = torch.as_tensor(indices, dtype=torch.long)
        return replace(
            self, places=self.places[at], targets=self.targets[at], steps=self.steps[at], sizes=self.sizes[at]
        )

    def apply(self, what: Callable[..., Tensor]) -> Tensor:
        """Return what a function of the inputs gives for all clips at once: a row for each, in their order."""
        rows, order = [], []
        for number in sorted(set(self.places[:, 0].tolist())):
            mine = (self.places[:, 0] == number).nonzero()[:, 0]
            rows.append(what(*self.sources[number].inputs(self.places[mine, 1].tolist())))
            order.append(mine)
        found = torch.cat(rows)
        return found[torch.cat(order).argsort().to(found.device)]

    def gather(self, what: Callable[..., Tensor]) -> Tensor:
        """Return the same, batch by batch and without gradients."""
        with torch.no_grad():
            return torch.cat([self.pick(list(part)).apply(what) for part in chunks(len(self), _BATCH)])
