"""The mean and the covariance of a task's descriptions in 70 kB, by which `ridge` and `discriminant` choose."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cl_ast.errors import CorruptRegistryError

RANK = 64  # directions a task, at most
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
        second[:-1, :-1] += self.covariance()
        return second, q

    def covariance(self) -> Tensor:
        """(d, d) float64."""
        factor = self.factor.double()
        return factor.T @ factor + torch.diag(self.rest.double())

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


def learned(described: Tensor) -> Moments:
    """Of described clips (n, d)."""
    points = described.double()
    mean = points.mean(dim=0)
    away = points - mean
    covariance = away.T @ away / len(points)
    values, vectors = torch.linalg.eigh(covariance)
    leading = slice(-min(RANK, len(values)), None)
    factor = (vectors[:, leading] * values[leading].clamp_min(0).sqrt()).T.half()
    rest = (covariance.diagonal() - factor.double().square().sum(dim=0)).clamp_min(0)
    return Moments(mean.float(), factor.contiguous(), rest.float())


def restored(tensors: Mapping[str, Tensor], dimensions: int) -> Moments:
    """Raises CorruptRegistryError for what no clips could have."""
    mean, factor, rest = tensors["mean"], tensors["factor"], tensors["rest"]
    types = (mean.dtype, factor.dtype, rest.dtype) == (torch.float32, torch.float16, torch.float32)
    shapes = mean.shape == rest.shape == (dimensions,) and factor.dim() == 2 and factor.shape[1] == dimensions
    if not types or not shapes or not 1 <= len(factor) <= RANK:
        raise CorruptRegistryError("the routing of the task has other shapes or types than this cl-ast's")
    weight = sum(float(part.double().sum()) for part in (mean.square(), factor.double().square(), rest))
    if abs(weight - 1) > 0.02 or bool((rest < 0).any()):
        raise CorruptRegistryError("the routing of the task would draw the clips of other tasks to it")
    return Moments(mean, factor, rest)


def shrunk(covariance: Tensor, share: float) -> Tensor:
    """A covariance (d, d) with a share of it replaced by its mean variance in every dimension."""
    level = covariance.diagonal().mean()
    return (1 - share) * covariance + share * level * torch.eye(len(covariance), dtype=covariance.dtype)
