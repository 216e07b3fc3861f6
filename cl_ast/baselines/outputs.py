"""Which classes may be an answer: the difference between the three scenarios.

After van de Ven, Tuytelaars and Tolias (2022), Three types of incremental learning: in task-incremental learning (til)
the step of a clip is known, and the answer is one of that step's classes; in class-incremental learning (cil) it is any
class seen so far; in domain-incremental learning (dil) all steps have the same classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

SCENARIOS = ("til", "cil", "dil")


class Outputs:
    """The classes of a stream's steps, and which of them were seen so far.

    Attributes:
        seen: (classes,) bool.
    """

    def __init__(self, scenario: str, classes: Sequence[Sequence[int]], count: int) -> None:
        """
        Args:
            scenario: one of `SCENARIOS`.
            classes: the classes of each step.
            count: how many classes the whole stream has.
        """
        self._by_step = scenario == "til"
        self.of_step = torch.zeros(len(classes), count, dtype=torch.bool)
        for step, own in enumerate(classes):
            self.of_step[step, list(own)] = True
        self.seen = torch.zeros(count, dtype=torch.bool)

    def see(self, steps: Tensor) -> Tensor:
        """Note that the classes of these steps are seen; return those that were not before, (new,)."""
        new = self.of_step[sorted(set(steps.tolist()))].any(dim=0) & ~self.seen
        self.seen |= new
        return new.nonzero()[:, 0]

    def allowed(self, steps: Tensor) -> Tensor:
        """Return which classes may be the answer for clips (n,) of these steps: (n, classes) bool."""
        return self.of_step[steps] if self._by_step else self.seen.expand(len(steps), -1)

    def answered_together(self, steps: Sequence[int]) -> list[Tensor]:
        """Return the classes of these steps, those together that are possible answers for the same clip."""
        if self._by_step:
            return [self.of_step[step].nonzero()[:, 0] for step in steps]
        return [self.of_step[list(steps)].any(dim=0).nonzero()[:, 0]] if steps else []

    def accuracy(self, logits: Tensor, targets: Tensor, steps: Tensor) -> float:
        """Return the share of clips for which the best class that is allowed is the right one."""
        best = only(logits, self.allowed(steps)).argmax(dim=1)
        return float((best.cpu() == targets).float().mean())


def only(logits: Tensor, allowed: Tensor) -> Tensor:
    """Return logits (n, classes) that are minus infinity for classes that are not allowed."""
    return logits.masked_fill(~allowed.to(logits.device), -torch.inf)


def cross_entropy(logits: Tensor, allowed: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy over the classes that are allowed for each clip."""
    return F.cross_entropy(only(logits, allowed), targets.to(logits.device))
