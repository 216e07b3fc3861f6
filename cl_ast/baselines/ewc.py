"""Elastic weight consolidation: weights that mattered for a step are held back by a spring.

Kirkpatrick et al. (2017), Overcoming catastrophic forgetting in neural networks, eq. 3, with one penalty for each step.
The Fisher information is the empirical one: the mean over clips of the squared gradient of the log-likelihood of the
clip's own class.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cl_ast.baselines.examples import Examples
from cl_ast.baselines.naive import Naive
from cl_ast.baselines.network import Network
from cl_ast.baselines.outputs import Outputs
from cl_ast.training.options import Hyperparameters
from cl_ast.training.trainer import trainable


class ElasticWeights(Naive):
    """Adds λ/2 Σ_steps Σ_i F_i (θ_i − θ*_i)² to the loss."""

    def __init__(self, network: Network, outputs: Outputs, options: Hyperparameters, strength: float) -> None:
        """
        Args:
            strength: λ.
        """
        super().__init__(network, outputs, options)
        self._strength = strength
        self._springs: list[tuple[list[Tensor], list[Tensor]]] = []  # Fisher information and weights after each step

    def loss(self, train: Examples, batch: Sequence[int]) -> Tensor:
        loss = super().loss(train, batch)
        now = self.network.trainable()
        for fisher, then in self._springs:
            loss = loss + self._strength / 2 * elastic(fisher, now, then)
        return loss

    def after(self, train: Examples) -> None:
        then = [tensor.detach().clone() for tensor in self.network.trainable()]
        self._springs.append((self.fisher(train), then))

    def fisher(self, examples: Examples) -> list[Tensor]:
        """Return the diagonal of the empirical Fisher information of clips, for each trained tensor."""
        tensors = self.network.trainable()
        sums = [torch.zeros_like(tensor) for tensor in tensors]
        with trainable(tensors):
            for index in range(len(examples)):
                gradients = torch.autograd.grad(
                    self.cross_entropy(examples.pick([index])), tensors, allow_unused=True, materialize_grads=True
                )
                for total, gradient in zip(sums, gradients, strict=True):
                    total += gradient.square()
        return [total / len(examples) for total in sums]

    def kept(self) -> list[Tensor]:
        return [*super().kept(), *(tensor for spring in self._springs for part in spring for tensor in part)]


def elastic(fisher: Sequence[Tensor], now: Sequence[Tensor], then: Sequence[Tensor]) -> Tensor:
    """Return Σ_i F_i (θ_i − θ*_i)² over all numbers of all tensors."""
    terms = [(f * (a - b).square()).sum() for f, a, b in zip(fisher, now, then, strict=True)]
    return torch.stack(terms).sum()
