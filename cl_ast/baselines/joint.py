"""Joint training: after each step a new network is trained on the clips of all steps so far.

It is usually the upper bound.
"""

from collections.abc import Callable

from cl_ast.baselines.descent import descend
from cl_ast.baselines.examples import Examples
from cl_ast.baselines.naive import Naive
from cl_ast.baselines.network import Network
from cl_ast.baselines.outputs import Outputs
from cl_ast.training.options import Hyperparameters


class Joint(Naive):
    """Keeps all clips, and trains on all of them again."""

    def __init__(self, fresh: Callable[[], Network], outputs: Outputs, options: Hyperparameters) -> None:
        """
        Args:
            fresh: makes an untrained network.
        """
        super().__init__(fresh(), outputs, options)
        self._fresh = fresh
        self._all: Examples | None = None

    def learn(self, train: Examples, validation: Examples) -> None:
        clips = train if self._all is None else self._all + train
        self._all = clips
        self.outputs.see(train.steps)
        self.network = self._fresh()
        self.network.start(clips, self.outputs.seen.nonzero()[:, 0])
        descend(self.network, len(clips), self._options, lambda batch: self.loss(clips, batch))

    def replay_bytes(self) -> int:
        return 0 if self._all is None else int(self._all.sizes.sum())
