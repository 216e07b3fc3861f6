"""RanPAC: ridge regression from a random expansion of frozen features to the classes, in closed form.

McDonnell et al. (2023), RanPAC: random projections and pre-trained models for continual learning, without its first
phase, which adapts the backbone. φ = ReLU(f W) with W standard normal; G = Σ φᵀφ and Q = Σ φᵀY grow with each step; the
weights are (G + λI)⁻¹ Q. As in the paper, λ is chosen again at each step, by the squared error on clips of the newest
one; here these are its validation clips.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.baselines.examples import Examples
from cl_ast.baselines.outputs import Outputs

RIDGES = tuple(10.0**power for power in range(-8, 9))


class RandomProjection:
    """Solves for all steps so far from sums. The order of the steps matters only by λ."""

    def __init__(self, outputs: Outputs, width: int, expanded: int) -> None:
        """
        Args:
            width: of the features.
            expanded: the number of random features; the paper has 10,000.
        """
        self.outputs = outputs
        classes = len(outputs.seen)
        self._random = torch.randn(width, expanded, dtype=torch.float64)
        self._gram = torch.zeros(expanded, expanded, dtype=torch.float64)
        self._sums = torch.zeros(expanded, classes, dtype=torch.float64)
        self._weights = torch.zeros(expanded, classes, dtype=torch.float64)

    def learn(self, train: Examples, validation: Examples) -> None:
        """Learn one step."""
        self.outputs.see(train.steps)
        expanded = self._expanded(train)
        self._gram += expanded.T @ expanded
        self._sums += expanded.T @ self._one_hot(train)
        self._weights = solved(self._gram, self._sums, self._expanded(validation), self._one_hot(validation))

    def logits(self, examples: Examples) -> Tensor:
        """Return the regression's values (n, classes) for clips."""
        return self._expanded(examples) @ self._weights

    def features(self, examples: Examples) -> Tensor | None:
        """Return nothing: the features are always the plain backbone's."""
        return None

    def trained(self) -> list[Tensor]:
        """Return the tensors that are trained by gradients: none are."""
        return []

    def kept(self) -> list[Tensor]:
        """Return all tensors that have to be stored; the random ones can be drawn again from their seed."""
        return [self._gram.float(), self._sums.float(), self._weights.float()]

    def replay_bytes(self) -> int:
        """Return the size of the clips that are stored: none are."""
        return 0

    def _expanded(self, examples: Examples) -> Tensor:
        return F.relu(examples.gather(lambda vectors: vectors).cpu().double() @ self._random)

    def _one_hot(self, examples: Examples) -> Tensor:
        return F.one_hot(examples.targets, len(self.outputs.seen)).double()


def solved(gram: Tensor, sums: Tensor, validation: Tensor, wanted: Tensor) -> Tensor:
    """Return (G + λI)⁻¹ Q with the λ of `RIDGES` for which the squared error on validation clips is smallest.

    Args:
        gram: G, (m, m).
        sums: Q, (m, classes).
        validation: (n, m), the expanded features of validation clips.
        wanted: (n, classes), what the regression should give for them.
    """
    values, vectors = torch.linalg.eigh(gram)
    values = values.clamp_min(0)
    rotated, projected = vectors.T @ sums, validation @ vectors
    errors = [float((projected @ (rotated / (values + one)[:, None]) - wanted).square().mean()) for one in RIDGES]
    best = RIDGES[errors.index(min(errors))]
    found: Tensor = vectors @ (rotated / (values + best)[:, None])
    return found
