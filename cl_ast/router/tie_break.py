"""Decides between the two nearest tasks where both are nearly as near: by the confidence of their heads.

This is the one place where a routed answer is decided; predicting and measuring both call `decide`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from cl_ast.router.calibration import calibrate, p_values
from cl_ast.router.router import Route, Router


class HasLogits(Protocol):
    """The answer of one task for one clip."""

    @property
    def logits(self) -> Tensor:
        """The logits (classes,) of the task's head."""
        ...


A = TypeVar("A", bound=HasLogits)


def decide(
    router: Router, described: Tensor, answers: Callable[[Sequence[tuple[int, str]]], Sequence[A]]
) -> list[tuple[Route, A]]:
    """Return the task that each described clip (n, d) is sent to, with that task's answer.

    Args:
        answers: the answers for pairs of a clip's row and a task's name, in their order. A clip with a runner-up
            appears twice.
    """
    choices = [(route, route.runner_up) if route.runner_up else (route,) for route in router.choose(described)]
    pairs = [(row, route.task) for row, several in enumerate(choices) for route in several]
    found = iter(answers(pairs))
    return [_settled(router, [(route, next(found)) for route in several]) for several in choices]


def _settled(router: Router, answered: Sequence[tuple[Route, A]]) -> tuple[Route, A]:
    """Return the nearest task, or its runner-up where the runner-up's head is more confident."""
    nearest, *others = answered
    for route, answer in others:
        calibrations = router.confidence(nearest[0].task), router.confidence(route.task)
        if more_confident(nearest[1].logits, answer.logits, calibrations):
            return route, answer
    return nearest


def confidence(logits: Tensor) -> Tensor:
    """Return minus the entropy of logits (n, classes) as a share of the largest possible: (n,) in [-1, 0]."""
    chances = logits.float().softmax(dim=1)
    entropy = -(chances * chances.clamp_min(1e-12).log()).sum(dim=1)
    return -entropy / max(1e-6, float(torch.tensor(logits.shape[1]).log()))


def confidence_calibration(logits: Tensor) -> Tensor:
    """Return the order statistics (101,) of how confident a head is of validation clips (n, classes)."""
    return calibrate(confidence(logits)) if len(logits) else torch.zeros(101)


def more_confident(first: Tensor, second: Tensor, calibrations: tuple[Tensor, Tensor]) -> bool:
    """Return whether the second head is more confident of a clip than the first, each by its own standards.

    Args:
        first, second: logits (classes,) of the nearest task and of its runner-up.
        calibrations: the `confidence_calibration` of each.
    """
    pairs = zip((first, second), calibrations, strict=True)
    mine, other = (p_values(own, confidence(logits[None])).item() for logits, own in pairs)
    return other > mine
