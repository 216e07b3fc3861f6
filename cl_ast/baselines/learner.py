"""What all ways to learn a stream have in common, and the one that learns with a strategy on clips."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from cl_ast.baselines.clips import View
from cl_ast.baselines.examples import Examples
from cl_ast.baselines.network import probe_accuracy
from cl_ast.baselines.outputs import Outputs
from cl_ast.baselines.scenarios import Step


@dataclass(frozen=True, slots=True)
class Cost:
    """What a learner needs after a stream, besides the backbone.

    Attributes:
        trained_parameters: how many numbers were trained by gradients, in all.
        stored_bytes: the size of what has to be kept to answer and to learn the next step, without clips.
        replay_bytes: the size of the clips that have to be kept, as their files have it.
    """

    trained_parameters: int
    stored_bytes: int
    replay_bytes: int


class Learner(Protocol):
    """Learns the steps of one stream, in order.

    Attributes:
        answers: the names of its ways to answer; one empty name where there is one way.
    """

    @property
    def answers(self) -> tuple[str, ...]: ...

    def learn(self, step: Step) -> None:
        """Learn one step. Raises TrainingError where that is not possible."""
        ...

    def accuracies(self, step: Step, split: str) -> tuple[float, ...]:
        """Return the accuracy on a step's clips of a split of `SPLITS`, for each way to answer."""
        ...

    def probe(self, step: Step) -> float | None:
        """Return the test accuracy of a linear probe of a step on the features as they are now.

        None where these are always the plain backbone's.
        """
        ...

    def cost(self) -> Cost:
        """Return what it needs by now."""
        ...


class Strategy(Protocol):
    """How examples are learned: `Naive` and what adds to it, or a closed form on the plain backbone's features.

    Attributes:
        outputs: which classes may be an answer.
    """

    outputs: Outputs

    def learn(self, train: Examples, validation: Examples) -> None:
        """Learn one step."""
        ...

    def logits(self, examples: Examples) -> Tensor:
        """Return a score (n, classes) for each class of the stream."""
        ...

    def features(self, examples: Examples) -> Tensor | None:
        """Return the features (n, d) of clips as they are now; None where they are always the plain backbone's."""
        ...

    def trained(self) -> list[Tensor]:
        """Return the tensors that are trained by gradients."""
        ...

    def kept(self) -> list[Tensor]:
        """Return all tensors that have to be stored to answer and to learn the next step."""
        ...

    def replay_bytes(self) -> int:
        """Return the size of the clips that have to be stored."""
        ...


class ClipLearner:
    """Learns with a strategy."""

    answers = ("",)

    def __init__(self, strategy: Strategy, view: View) -> None:
        """
        Args:
            view: the clips as the strategy takes them.
        """
        self._strategy = strategy
        self._view = view

    def learn(self, step: Step) -> None:
        self._strategy.learn(self._view(step, "train"), self._view(step, "validation"))

    def accuracies(self, step: Step, split: str) -> tuple[float, ...]:
        clips = self._view(step, split)
        return (self._strategy.outputs.accuracy(self._strategy.logits(clips), clips.targets, clips.steps),)

    def probe(self, step: Step) -> float | None:
        train, test = self._view(step, "train"), self._view(step, "test")
        found = self._strategy.features(train), self._strategy.features(test)
        if found[0] is None or found[1] is None:
            return None
        return probe_accuracy(found[0], train.targets, found[1], test.targets)

    def cost(self) -> Cost:
        kept = sum(tensor.numel() * tensor.element_size() for tensor in self._strategy.kept())
        trained = sum(tensor.numel() for tensor in self._strategy.trained())
        return Cost(trained, kept, self._strategy.replay_bytes())
