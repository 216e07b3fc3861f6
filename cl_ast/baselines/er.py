"""Experience replay: each batch is joined by as many clips of a buffer.

Chaudhry et al. (2019), On tiny episodic memories in continual learning.
"""

from collections.abc import Sequence

from torch import Tensor

from cl_ast.baselines.buffer import Buffer
from cl_ast.baselines.examples import Examples
from cl_ast.baselines.naive import Naive
from cl_ast.baselines.network import Network
from cl_ast.baselines.outputs import Outputs
from cl_ast.training.options import Hyperparameters


class Replay(Naive):
    """Trains on each step's clips, and on clips of earlier steps that a buffer has."""

    def __init__(self, network: Network, outputs: Outputs, options: Hyperparameters, per_class: int) -> None:
        """
        Args:
            per_class: how many clips are kept per class of each step.
        """
        super().__init__(network, outputs, options)
        self._buffer = Buffer(per_class)

    def loss(self, train: Examples, batch: Sequence[int]) -> Tensor:
        clips = train.pick(batch)
        if self._buffer.examples is not None:
            clips += self._buffer.examples.pick(self._buffer.draw(len(batch)))
        return self.cross_entropy(clips)

    def after(self, train: Examples) -> None:
        self._buffer.add(train)

    def replay_bytes(self) -> int:
        return self._buffer.bytes
