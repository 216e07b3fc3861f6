"""Learning without forgetting: the new clips should get the probabilities of the old classes that they got before.

Li and Hoiem (2016), Learning without forgetting, with their temperature of 2. The clips' logits are recorded before the
step is trained, as the paper does.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.baselines.examples import Examples
from cl_ast.baselines.naive import Naive
from cl_ast.baselines.network import Network
from cl_ast.baselines.outputs import Outputs, cross_entropy
from cl_ast.training.options import Hyperparameters

_TEMPERATURE = 2.0


class Distilled(Naive):
    """Adds α times the distillation loss over the classes of earlier steps; where steps are known, over each step's."""

    def __init__(self, network: Network, outputs: Outputs, options: Hyperparameters, alpha: float) -> None:
        """
        Args:
            alpha: the weight of the distillation loss.
        """
        super().__init__(network, outputs, options)
        self._alpha = alpha
        self._before = torch.zeros(0)

    def before(self, train: Examples) -> None:
        self._before = self.logits(train)

    def loss(self, train: Examples, batch: Sequence[int]) -> Tensor:
        clips = train.pick(batch)
        logits = clips.apply(self.network.logits)
        loss = cross_entropy(logits, self.outputs.allowed(clips.steps), clips.targets)
        before = self._before[list(batch)]
        for classes in self.outputs.answered_together(self.learned):
            loss = loss + self._alpha * distillation(logits[:, classes], before[:, classes], _TEMPERATURE)
        return loss


def distillation(logits: Tensor, before: Tensor, temperature: float) -> Tensor:
    """Return the divergence KL(before ‖ now) of softened probabilities, the mean over clips.

    It has the gradient of the paper's modified cross-entropy, and is 0 where nothing has changed.

    Args:
        logits, before: (n, classes).
    """
    now = (logits / temperature).log_softmax(dim=1)
    return F.kl_div(now, (before / temperature).softmax(dim=1), reduction="batchmean")
