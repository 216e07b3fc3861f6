"""The memory of the strategies that replay: some clips of each class of each step."""

import torch
from torch import Tensor

from cl_ast.baselines.examples import Examples


class Buffer:
    """Keeps some clips per class of each step, drawn at random.

    Attributes:
        examples: the clips; None before the first step.
    """

    def __init__(self, per_class: int) -> None:
        self._per_class = per_class
        self.examples: Examples | None = None

    def add(self, examples: Examples) -> Examples:
        """Keep some of the clips of a step, and return these."""
        order = torch.randperm(len(examples))
        targets = examples.targets[order]
        drawn = [order[targets == one][: self._per_class] for one in sorted(set(targets.tolist()))]
        chosen = examples.pick(torch.cat(drawn))
        self.examples = chosen if self.examples is None else self.examples + chosen
        return chosen

    def draw(self, count: int) -> Tensor:
        """Return the numbers of `count` clips of the buffer that is not empty, or of all if there are fewer."""
        assert self.examples is not None
        return torch.randperm(len(self.examples))[:count]

    @property
    def bytes(self) -> int:
        """The size of the clips."""
        return 0 if self.examples is None else int(self.examples.sizes.sum())
