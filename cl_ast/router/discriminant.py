"""Linear discriminants: tasks as normal distributions of one covariance, from sums that each task brings.

Fisher 1936; over a stream of classes, Hayes & Kanan 2020. A clip x is of task t with a probability proportional to
exp(x^T S^-1 mu_t - mu_t^T S^-1 mu_t / 2), where S is the mean of the tasks' own covariances, shrunk. Unlike theirs, a
task weighs the same however many clips it has, and is taken away as exactly as it was added.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cl_ast.router.moments import Moments, learned, restored, shrunk

_SHRINKAGE = 0.1  # of S, to its mean variance in every dimension
_NAMES = {"centre": "mean", "directions": "factor", "rest": "rest"}  # in a file, and in `Moments`


@dataclass(frozen=True, slots=True)
class Normal:
    """A task's mean and covariance, under names that tell it from a task of `ridge`."""

    moments: Moments

    def tensors(self) -> dict[str, Tensor]:
        found = self.moments.tensors()
        return {name: found[theirs] for name, theirs in _NAMES.items()}

    def fit(self, described: Tensor) -> Tensor:
        """As `Moments.fit`: of this task alone."""
        return self.moments.fit(described)


class DiscriminantRouter:
    """70 kB a task; adding, removing and reordering tasks gives what learning them all at once would."""

    margin: ClassVar[float] = 0.9

    def names(self) -> frozenset[str]:
        return frozenset(_NAMES)

    def learn(self, described: Tensor, targets: Tensor, generator: torch.Generator) -> Normal:
        return Normal(learned(described))

    def restore(self, tensors: Mapping[str, Tensor], dimensions: int) -> Normal:
        renamed = {theirs: tensors[name] for name, theirs in _NAMES.items()}
        return Normal(restored(renamed, dimensions))

    def chooser(self, states: Sequence[Normal]) -> Callable[[Tensor], Tensor]:
        """Described clips (n, d) to the probability of each task (n, tasks), were all as frequent; float64."""
        means = torch.stack([state.moments.mean.double() for state in states], dim=1)
        shared = torch.zeros(len(means), len(means), dtype=torch.float64)
        for state in states:
            shared += state.moments.covariance()
        # The last part is for tasks of one clip each, whose covariance is nothing.
        shared = shrunk(shared / len(states), _SHRINKAGE) + 1e-10 * torch.eye(len(shared), dtype=torch.float64)
        weights = torch.cholesky_solve(means, torch.linalg.cholesky(shared))
        offsets = -(means * weights).sum(dim=0) / 2
        return lambda described: (described.double() @ weights + offsets).softmax(dim=1)
