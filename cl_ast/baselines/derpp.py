"""DER++: replayed clips should get the logits that they got when they were stored, and their classes.

Buzzega et al. (2020), Dark experience for general continual learning, eq. 6. The logits are stored when a step has been
learned, of the classes that were seen by then.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cl_ast.baselines.buffer import Buffer
from cl_ast.baselines.examples import Examples
from cl_ast.baselines.naive import Naive
from cl_ast.baselines.network import Network
from cl_ast.baselines.outputs import Outputs
from cl_ast.training.options import Hyperparameters


class DarkReplay(Naive):
    """Adds α (mean squared difference of logits) + β (cross-entropy), each over its own draw from a buffer."""

    def __init__(
        self,
        network: Network,
        outputs: Outputs,
        options: Hyperparameters,
        per_class: int,
        alpha: float,
        beta: float,
    ) -> None:
        """
        Args:
            per_class: how many clips are kept per class of each step.
            alpha, beta: the weights of the two terms.
        """
        super().__init__(network, outputs, options)
        self._buffer = Buffer(per_class)
        self._alpha = alpha
        self._beta = beta
        self._stored = torch.zeros(0, len(outputs.seen))  # logits
        self._then = torch.zeros(0, len(outputs.seen), dtype=torch.bool)  # whether the class was seen by then

    def loss(self, train: Examples, batch: Sequence[int]) -> Tensor:
        loss = super().loss(train, batch)
        if self._buffer.examples is None:
            return loss
        first, second = self._buffer.draw(len(batch)), self._buffer.draw(len(batch))
        logits = self._buffer.examples.pick(first).apply(self.network.logits)
        loss = loss + self._alpha * logit_distance(logits, self._stored[first], self._then[first])
        return loss + self._beta * self.cross_entropy(self._buffer.examples.pick(second))

    def after(self, train: Examples) -> None:
        chosen = self._buffer.add(train)
        logits = chosen.gather(self.network.logits).cpu()
        self._stored = torch.cat([self._stored, logits])
        self._then = torch.cat([self._then, self.outputs.seen.expand(len(chosen), -1)])

    def kept(self) -> list[Tensor]:
        return [*super().kept(), self._stored]

    def replay_bytes(self) -> int:
        return self._buffer.bytes


def logit_distance(logits: Tensor, stored: Tensor, then: Tensor) -> Tensor:
    """Return the mean squared difference of logits (n, classes) over the classes that were seen when they were stored.

    Args:
        stored: (n, classes), the logits as they were.
        then: (n, classes) bool.
    """
    then = then.to(logits.device)
    squared = (logits - stored.to(logits.device)).square()
    return squared[then].mean()
