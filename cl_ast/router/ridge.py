"""Random projection and ridge: one linear map from descriptions to tasks, solved from sums that each task brings.

After RanPAC (McDonnell et al. 2023) and analytic continual learning (ACIL, Zhuang et al. 2022): W = (G + lambda I)^-1 Q
with G = sum of G_t and Q = [q_t], from which a task is taken as exactly as it was added. Unlike theirs, the projection
is orthogonal and without ReLU (docs/routing.md), a task weighs the same however many clips it has, lambda is a constant
and not searched on the newest task, and G_t is kept as a mean, 64 directions and a diagonal: 70 kB, not a megabyte.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cl_ast.errors import CorruptRegistryError

RANK = 64  # directions a task, at most
_LAMBDA = 1e-4  # a task
_FLOOR = 0.3  # how much of every dimension's variance is taken from their mean


@dataclass(frozen=True, slots=True)
class Moments:
    """The first two moments of a task's descriptions; together they weigh 1, as unit vectors do.

    Attributes:
        mean: (d,) float32.
        factor: (r, d) float16; the covariance's leading directions, times their spread.
        rest: (d,) float32; what they leave of its diagonal.
    """

    mean: Tensor
    factor: Tensor
    rest: Tensor

    def tensors(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "factor": self.factor, "rest": self.rest}

    def sums(self) -> tuple[Tensor, Tensor]:
        """G_t (d + 1, d + 1) and q_t (d + 1,) in float64, over descriptions with a 1 behind them."""
        q = torch.cat([self.mean.double(), torch.ones(1, dtype=torch.float64)])
        second = torch.outer(q, q)
        factor = self.factor.double()
        second[:-1, :-1] += factor.T @ factor + torch.diag(self.rest.double())
        return second, q

    def fit(self, described: Tensor) -> Tensor:
        """Clips (n, d) to 1 / (1 + m / d), where m is their squared Mahalanobis distance from this task alone."""
        rest, factor = self.rest.double(), self.factor.double()
        mean_variance = (rest.sum() + factor.square().sum()) / len(rest)
        spread = (1 - _FLOOR) * rest + _FLOOR * mean_variance + 1e-6
        away = described.double() - self.mean.double()
        # Woodbury: the inverse of diag(spread) + F^T F costs one of the size of F.
        inner = torch.eye(len(factor), dtype=torch.float64) + (factor / spread) @ factor.T
        along = torch.linalg.solve_triangular(torch.linalg.cholesky(inner), (factor / spread) @ away.T, upper=False)
        distance = (away.square() / spread).sum(dim=1) - along.square().sum(dim=0)
        fit: Tensor = 1 / (1 + distance.clamp_min(0) / len(rest))
        return fit.float()


class RidgeRouter:
    """70 kB a task; adding, removing and reordering tasks gives what learning them all at once would."""

    def names(self) -> frozenset[str]:
        return frozenset({"mean", "factor", "rest"})

    def learn(self, described: Tensor, targets: Tensor, generator: torch.Generator) -> Moments:
        points = described.double()
        mean = points.mean(dim=0)
        away = points - mean
        covariance = away.T @ away / len(points)
        values, vectors = torch.linalg.eigh(covariance)
        leading = slice(-min(RANK, len(values)), None)
        factor = (vectors[:, leading] * values[leading].clamp_min(0).sqrt()).T.half()
        rest = (covariance.diagonal() - factor.double().square().sum(dim=0)).clamp_min(0)
        return Moments(mean.float(), factor.contiguous(), rest.float())

    def restore(self, tensors: Mapping[str, Tensor], dimensions: int) -> Moments:
        mean, factor, rest = tensors["mean"], tensors["factor"], tensors["rest"]
        types = (mean.dtype, factor.dtype, rest.dtype) == (torch.float32, torch.float16, torch.float32)
        shapes = mean.shape == rest.shape == (dimensions,) and factor.dim() == 2 and factor.shape[1] == dimensions
        if not types or not shapes or not 1 <= len(factor) <= RANK:
            raise CorruptRegistryError("the routing of the task has other shapes or types than this cl-ast's")
        weight = sum(float(part.double().sum()) for part in (mean.square(), factor.double().square(), rest))
        if abs(weight - 1) > 0.02 or bool((rest < 0).any()):
            raise CorruptRegistryError("the routing of the task would draw the clips of other tasks to it")
        return Moments(mean, factor, rest)

    def chooser(self, states: Sequence[Moments]) -> Callable[[Tensor], Tensor]:
        total = torch.zeros(())
        columns = []
        for state in states:
            second, first = state.sums()
            total = total + second
            columns.append(first)
        total = total + _LAMBDA * len(states) * torch.eye(len(columns[0]), dtype=torch.float64)
        weights = torch.cholesky_solve(torch.stack(columns, dim=1), torch.linalg.cholesky(total)).float()

        def scores(described: Tensor) -> Tensor:
            found: Tensor = described.float() @ weights[:-1] + weights[-1]
            return found

        return scores
