"""Prototypes under a fixed metric: a task's score is the best cosine to its own, and no score reads another task.

Exact by arithmetic: prototypes and descriptions are whole numbers (unit vectors times `_SCALE`), so every product and,
by Cauchy and Schwarz, every partial sum of a cosine stays under 2^24, where float32 is exact. Any number of tasks in
any order, on any BLAS, gives the same bits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from cl_ast.errors import CorruptRegistryError

PROTOTYPES = 32  # at most, a task
WIDTH = 256  # the first so many dimensions of a description: 16 kB a task
_SCALE = 4000
_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Prototypes:
    """points: (p, width) unit vectors times 4000, int16."""

    points: Tensor

    def tensors(self) -> dict[str, Tensor]:
        return {"prototypes": self.points}

    def fit(self, described: Tensor) -> Tensor:
        """(n, d) described clips to (n,) cosines to the nearest prototype."""
        return (_whole(described) @ self.points.float().T).amax(dim=1) / _SCALE**2


class PrototypeRouter:
    """At most 32 centres a task (17 kB with its calibration), a share for each class."""

    margin: ClassVar[float] = 0.05

    def names(self) -> frozenset[str]:
        return frozenset({"prototypes"})

    def learn(self, described: Tensor, targets: Tensor, generator: torch.Generator) -> Prototypes:
        points = normalize(described[:, :WIDTH].float(), dim=1)
        return Prototypes((_centres(points, targets, generator) * _SCALE).round().short())

    def restore(self, tensors: Mapping[str, Tensor], dimensions: int) -> Prototypes:
        points = tensors["prototypes"]
        if points.dtype != torch.int16 or points.dim() != 2 or points.shape[1] != min(WIDTH, dimensions):
            raise CorruptRegistryError("the routing of the task has other shapes or types than this cl-ast's")
        long = (points.float().norm(dim=1) - _SCALE).abs() > 0.01 * _SCALE
        if not 1 <= len(points) <= PROTOTYPES or bool(long.any()):
            raise CorruptRegistryError("the routing of the task would draw the clips of other tasks to it")
        return Prototypes(points)

    def chooser(self, states: Sequence[Prototypes]) -> Callable[[Tensor], Tensor]:
        most = max(len(state.points) for state in states)
        # A prototype twice changes no maximum, and lets all tasks be one matrix.
        filled = [torch.cat([s.points, s.points[:1].expand(most - len(s.points), -1)]) for s in states]
        matrix = torch.cat(filled).float().T.contiguous()

        def scores(described: Tensor) -> Tensor:
            cosines: Tensor = (_whole(described) @ matrix).view(len(described), len(states), most) / _SCALE**2
            return cosines.amax(dim=2)

        return scores


def _whole(described: Tensor) -> Tensor:
    """Described clips as unit vectors of whole numbers."""
    return (normalize(described[:, :WIDTH].float(), dim=1) * _SCALE).round()


def _centres(points: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Unit centres, a share of `PROTOTYPES` a class; with more classes than that, centres of class means."""
    classes = sorted(set(labels.tolist()))
    share = PROTOTYPES // len(classes)
    if share:
        return torch.cat([_k_means(points[labels == c], share, generator) for c in classes])
    means = torch.stack([points[labels == c].mean(dim=0) for c in classes])
    return _k_means(normalize(means, dim=1), PROTOTYPES, generator)


def _k_means(points: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Spherical k-means (Dhillon & Modha 2001) with seeded starts; at most one centre for three points."""
    k = max(1, min(k, len(points) // 3))
    centres = points[torch.randperm(len(points), generator=generator)[:k]]
    for _ in range(_ROUNDS):
        owner = (points @ centres.T).argmax(dim=1)
        moved = torch.zeros_like(centres).index_add_(0, owner, points)
        empty = moved.norm(dim=1) < 1e-6
        moved[empty] = centres[empty]
        moved = normalize(moved, dim=1)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres
