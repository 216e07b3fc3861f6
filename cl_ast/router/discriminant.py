"""Linear discriminant analysis: each task is a normal distribution, and all have one covariance.

Fisher 1936; over a stream of classes, Hayes & Kanan 2020. A clip x is of task t with a probability proportional to
exp(x^T S^-1 mu_t - mu_t^T S^-1 mu_t / 2), where S is the mean of the tasks' own covariances, shrunk. Unlike in the
latter, a task has the same weight however many clips it has, and removing a task undoes adding it exactly.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cl_ast.router.moments import Moments, distinct_columns, moments_from, moments_of, shrunk

_SHRINKAGE = 0.1  # the share of S that is replaced by its mean variance
_NAMES = {"centre": "mean", "directions": "factor", "rest": "rest"}  # names in a file: names in `Moments`


@dataclass(frozen=True, slots=True)
class Normal:
    """A task's mean and covariance. In files its tensors have other names than those of `ridge`."""

    moments: Moments

    def tensors(self) -> dict[str, Tensor]:
        found = self.moments.tensors()
        return {name: found[moment] for name, moment in _NAMES.items()}

    def fit(self, described: Tensor) -> Tensor:
        return self.moments.fit(described)


class DiscriminantRouter:
    """The router by linear discriminants; a state takes 70 kB.

    Adding, removing or reordering tasks gives the same router as learning all of them at once.
    """

    margin: ClassVar[float] = 0.9

    def names(self) -> frozenset[str]:
        return frozenset(_NAMES)

    def learn(self, described: Tensor, targets: Tensor, generator: torch.Generator) -> Normal:
        return Normal(moments_of(described))

    def restore(self, tensors: Mapping[str, Tensor], dimensions: int) -> Normal:
        renamed = {moment: tensors[name] for name, moment in _NAMES.items()}
        return Normal(moments_from(renamed, dimensions))

    def chooser(self, states: Sequence[Normal]) -> Callable[[Tensor], Tensor]:
        """Return a function from described clips (n, d) to the probability of each task (n, tasks), in float64.

        The probabilities are those for tasks that are equally frequent.
        """
        means, places = distinct_columns([state.moments.mean.double() for state in states])
        shared = torch.zeros(len(means), len(means), dtype=torch.float64)
        for state in states:
            shared += state.moments.covariance()
        # The small diagonal makes S invertible when every task has a single clip, and so no covariance.
        shared = shrunk(shared / len(states), _SHRINKAGE) + 1e-10 * torch.eye(len(shared), dtype=torch.float64)
        weights = torch.cholesky_solve(means, torch.linalg.cholesky(shared))
        offsets = -(means * weights).sum(dim=0) / 2
        return lambda described: (described.double() @ weights + offsets)[:, places].softmax(dim=1)
