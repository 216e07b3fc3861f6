"""Prototypes: a task's score for a clip is the largest cosine between the clip and the task's own prototypes.

Scores are exact. Prototypes and descriptions are whole numbers (unit vectors times `_SCALE`), so every product and, by
the Cauchy–Schwarz inequality, every partial sum of a cosine stays below 2^24, where float32 is exact. The scores are
therefore bit-identical for any number of tasks, in any order, with any BLAS.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from cl_ast.errors import CorruptRegistryError

PROTOTYPES = 32  # the most that a task has
WIDTH = 256  # only the first dimensions of a description are used, so that a task takes 16 kB
_SCALE = 4000
_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Prototypes:
    """A task's prototypes.

    Attributes:
        points: (p, width) int16; unit vectors times 4000, rounded.
    """

    points: Tensor

    def tensors(self) -> dict[str, Tensor]:
        return {"prototypes": self.points}

    def fit(self, described: Tensor) -> Tensor:
        """Return the cosine (n,) of each described clip (n, d) to its nearest prototype."""
        return (_whole(described) @ self.points.float().T).amax(dim=1) / _SCALE**2


class PrototypeRouter:
    """The router by prototypes: at most 32 for each task (17 kB with its calibration), shared out among its classes."""

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
        # Repeating a prototype changes no maximum, and gives all tasks the same number, so that they fit one matrix.
        filled = [torch.cat([s.points, s.points[:1].expand(most - len(s.points), -1)]) for s in states]
        matrix = torch.cat(filled).float().T.contiguous()

        def scores(described: Tensor) -> Tensor:
            cosines: Tensor = (_whole(described) @ matrix).view(len(described), len(states), most) / _SCALE**2
            return cosines.amax(dim=2)

        return scores


def _whole(described: Tensor) -> Tensor:
    """Return described clips as unit vectors times `_SCALE`, rounded to whole numbers."""
    return (normalize(described[:, :WIDTH].float(), dim=1) * _SCALE).round()


def _centres(points: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Return unit centres: an equal share of `PROTOTYPES` for each class.

    If there are more classes than `PROTOTYPES`, the means of the classes are clustered instead.
    """
    classes = sorted(set(labels.tolist()))
    share = PROTOTYPES // len(classes)
    if share:
        return torch.cat([_k_means(points[labels == c], share, generator) for c in classes])
    means = torch.stack([points[labels == c].mean(dim=0) for c in classes])
    return _k_means(normalize(means, dim=1), PROTOTYPES, generator)


def _k_means(points: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Cluster by spherical k-means (Dhillon & Modha 2001) from random points; at most one centre for three points."""
    k = max(1, min(k, len(points) // 3))
    centres = points[torch.randperm(len(points), generator=generator)[:k]]
    for _ in range(_ROUNDS):
        nearest = (points @ centres.T).argmax(dim=1)
        moved = torch.zeros_like(centres).index_add_(0, nearest, points)
        empty = moved.norm(dim=1) < 1e-6
        moved[empty] = centres[empty]
        moved = normalize(moved, dim=1)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres
