"""The mean and the covariance of a task's descriptions in 70 kB; `ridge` and `discriminant` choose by them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cl_ast.errors import CorruptRegistryError

RANK = 64  # the largest number of directions that are stored for a task
_SHRINKAGE = 0.3  # the share of every dimension's variance that is replaced by the mean variance


@dataclass(frozen=True, slots=True)
class Moments:
    """The first two moments of a task's descriptions.

    Descriptions are unit vectors, so the squared mean and the variances sum to 1.

    Attributes:
        mean: (d,) float32.
        factor: (r, d) float16; the leading directions of the covariance, times their standard deviations.
        rest: (d,) float32; the variances that remain without these directions.
    """

    mean: Tensor
    factor: Tensor
    rest: Tensor

    def tensors(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "factor": self.factor, "rest": self.rest}

    def sums(self) -> tuple[Tensor, Tensor]:
        """Return the mean of x xᵀ (d + 1, d + 1) and of x (d + 1,) in float64, for descriptions x with a 1 appended."""
        q = torch.cat([self.mean.double(), torch.ones(1, dtype=torch.float64)])
        second = torch.outer(q, q)
        second[:-1, :-1] += self.covariance()
        return second, q

    def covariance(self) -> Tensor:
        """Return the covariance (d, d) in float64."""
        factor = self.factor.double()
        return factor.T @ factor + torch.diag(self.rest.double())

    def fit(self, described: Tensor) -> Tensor:
        """Return 1 / (1 + m / d) for clips (n, d), where m is their squared Mahalanobis distance from this task."""
        rest, factor = self.rest.double(), self.factor.double()
        mean_variance = (rest.sum() + factor.square().sum()) / len(rest)
        diagonal = (1 - _SHRINKAGE) * rest + _SHRINKAGE * mean_variance + 1e-6
        offsets = described.double() - self.mean.double()
        # By Woodbury's identity, diag(diagonal) + F^T F is inverted through an r by r matrix, where F is (r, d).
        inner = torch.eye(len(factor), dtype=torch.float64) + (factor / diagonal) @ factor.T
        along = torch.linalg.solve_triangular(
            torch.linalg.cholesky(inner), (factor / diagonal) @ offsets.T, upper=False
        )
        distance = (offsets.square() / diagonal).sum(dim=1) - along.square().sum(dim=0)
        fit: Tensor = 1 / (1 + distance.clamp_min(0) / len(rest))
        return fit.float()


def moments_of(described: Tensor) -> Moments:
    """Return the moments of described clips (n, d)."""
    points = described.double()
    mean = points.mean(dim=0)
    offsets = points - mean
    covariance = offsets.T @ offsets / len(points)
    values, vectors = torch.linalg.eigh(covariance)
    leading = slice(-min(RANK, len(values)), None)
    factor = (vectors[:, leading] * values[leading].clamp_min(0).sqrt()).T.half()
    rest = (covariance.diagonal() - factor.double().square().sum(dim=0)).clamp_min(0)
    return Moments(mean.float(), factor.contiguous(), rest.float())


def moments_from(tensors: Mapping[str, Tensor], dimensions: int) -> Moments:
    """Return the moments with these tensors. Raises CorruptRegistryError if no clips can have such moments."""
    mean, factor, rest = tensors["mean"], tensors["factor"], tensors["rest"]
    types = (mean.dtype, factor.dtype, rest.dtype) == (torch.float32, torch.float16, torch.float32)
    shapes = mean.shape == rest.shape == (dimensions,) and factor.dim() == 2 and factor.shape[1] == dimensions
    if not types or not shapes or len(factor) != min(RANK, dimensions):
        raise CorruptRegistryError("the routing of the task has other shapes or types than this cl-ast's")
    # Unit vectors have moments whose trace is 1; a few thousandths are lost in half precision.
    total = sum(float(part.double().sum()) for part in (mean.square(), factor.double().square(), rest))
    if not abs(total - 1) <= 0.02 or not bool((rest >= 0).all()):  # NaN is refused, too
        raise CorruptRegistryError("the routing of the task would draw the clips of other tasks to it")
    return Moments(mean, factor, rest)


def shrunk(covariance: Tensor, share: float) -> Tensor:
    """Return a covariance (d, d), a share of which is replaced by its mean variance times the identity."""
    mean_variance = covariance.diagonal().mean()
    return (1 - share) * covariance + share * mean_variance * torch.eye(len(covariance), dtype=covariance.dtype)


def distinct_columns(columns: Sequence[Tensor]) -> tuple[Tensor, list[int]]:
    """Return the columns (d,) that differ as a matrix (d, n), and the place in it of each column that was given.

    Equal tasks then have one score. As columns of their own they would not on some processors, which sum the last
    columns of a matrix in another order than the others.
    """
    keys = [column.numpy().tobytes() for column in columns]
    different = dict(zip(keys, columns, strict=True))
    places = {key: place for place, key in enumerate(different)}
    return torch.stack(list(different.values()), dim=1), [places[key] for key in keys]
