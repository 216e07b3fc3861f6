"""Random projection and ridge: one linear map from descriptions to tasks, solved from sums that each task brings.

After RanPAC (McDonnell et al. 2023) and analytic continual learning (ACIL, Zhuang et al. 2022): W = (G + lambda I)^-1 Q
with G = sum of G_t and Q = [q_t], from which a task is taken as exactly as it was added. Unlike theirs, the projection
is orthogonal and without ReLU (docs/routing.md), a task weighs the same however many clips it has, lambda is a constant
and not searched on the newest task, and G_t is kept as a mean, 64 directions and a diagonal: 70 kB, not a megabyte.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from cl_ast.router.moments import Moments, learned, restored

_LAMBDA = 1e-4  # a task


class RidgeRouter:
    """70 kB a task; adding, removing and reordering tasks gives what learning them all at once would."""

    margin: ClassVar[float] = 0.2

    def names(self) -> frozenset[str]:
        return frozenset({"mean", "factor", "rest"})

    def learn(self, described: Tensor, targets: Tensor, generator: torch.Generator) -> Moments:
        return learned(described)

    def restore(self, tensors: Mapping[str, Tensor], dimensions: int) -> Moments:
        return restored(tensors, dimensions)

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
