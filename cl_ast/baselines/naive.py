"""Naive: one adapter and one head are trained on, step after step. Every other strategy adds something to it."""

from collections.abc import Sequence

from torch import Tensor

from cl_ast.baselines.descent import descend
from cl_ast.baselines.examples import Examples
from cl_ast.baselines.network import Network
from cl_ast.baselines.outputs import Outputs, cross_entropy
from cl_ast.training.options import Hyperparameters


class Naive:
    """Trains a network on the clips of each step alone.

    Attributes:
        network: what is trained.
        outputs: which classes may be an answer; it is told of each step.
        learned: the steps so far, without the one that is being learned.
    """

    def __init__(self, network: Network, outputs: Outputs, options: Hyperparameters) -> None:
        self.network = network
        self.outputs = outputs
        self.learned: list[int] = []
        self._options = options

    def learn(self, train: Examples, validation: Examples) -> None:
        """Learn one step."""
        self.network.start(train, self.outputs.see(train.steps))
        self.before(train)
        descend(self.network, len(train), self._options, lambda batch: self.loss(train, batch))
        self.after(train)
        self.learned += sorted(set(train.steps.tolist()))

    def before(self, train: Examples) -> None:
        """Prepare a step; its classes have their outputs already."""

    def loss(self, train: Examples, batch: Sequence[int]) -> Tensor:
        """Return the loss of a batch of the step's clips."""
        return self.cross_entropy(train.pick(batch))

    def after(self, train: Examples) -> None:
        """Keep what later steps need of a step that was learned."""

    def cross_entropy(self, examples: Examples) -> Tensor:
        """Return the mean cross-entropy of clips, over the classes that may be an answer."""
        logits = examples.apply(self.network.logits)
        return cross_entropy(logits, self.outputs.allowed(examples.steps), examples.targets)

    def logits(self, examples: Examples) -> Tensor:
        """Return the logits (n, classes) of clips."""
        return examples.gather(self.network.logits)

    def features(self, examples: Examples) -> Tensor | None:
        """Return the input (n, d) of the head's linear map for clips."""
        return examples.gather(self.network.vectors)

    def trained(self) -> list[Tensor]:
        """Return the tensors that are trained."""
        return self.network.trainable()

    def kept(self) -> list[Tensor]:
        """Return all tensors that have to be stored to answer and to learn the next step, without clips."""
        return self.network.trainable()

    def replay_bytes(self) -> int:
        """Return the size of the clips that are stored."""
        return 0
