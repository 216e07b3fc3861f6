"""Nearest class mean: a clip is of the class to whose mean its frozen features have the highest cosine.

Mensink et al. (2013), Distance-based image classification; over a pretrained model, SimpleCIL (Zhou et al. 2023).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.baselines.examples import Examples
from cl_ast.baselines.outputs import Outputs


class NearestMean:
    """Adds up the features of each class. The order of the steps does not matter."""

    def __init__(self, outputs: Outputs, width: int) -> None:
        """
        Args:
            width: of the features.
        """
        self.outputs = outputs
        self._sums = torch.zeros(len(outputs.seen), width)
        self._counts = torch.zeros(len(outputs.seen))

    def learn(self, train: Examples, validation: Examples) -> None:
        """Learn one step."""
        self.outputs.see(train.steps)
        self._sums.index_add_(0, train.targets, train.gather(lambda vectors: vectors).cpu())
        self._counts += torch.bincount(train.targets, minlength=len(self._counts))

    def logits(self, examples: Examples) -> Tensor:
        """Return the cosines (n, classes) of clips with the class means."""
        vectors = examples.gather(lambda vectors: vectors).cpu()
        return F.normalize(vectors, dim=1) @ F.normalize(self._sums, dim=1).T

    def features(self, examples: Examples) -> Tensor | None:
        """Return nothing: the features are always the plain backbone's."""
        return None

    def trained(self) -> list[Tensor]:
        """Return the tensors that are trained by gradients: none are."""
        return []

    def kept(self) -> list[Tensor]:
        """Return all tensors that have to be stored to answer and to learn the next step."""
        return [self._sums, self._counts]

    def replay_bytes(self) -> int:
        """Return the size of the clips that are stored: none are."""
        return 0
