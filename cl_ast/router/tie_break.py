"""Decides between the two nearest tasks of a clip, if they are about equally near, by the confidence of their heads.

All routed answers are decided here: predicting and measuring both call `decide`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from cl_ast.router.calibration import UNCALIBRATED, calibrate, p_values
from cl_ast.router.router import Route, Router


class HasLogits(Protocol):
    """The answer of one task for one clip."""

    @property
    def logits(self) -> Tensor:
        """The logits (classes,) of the task's head; (0,) where the task could not answer."""
        ...


A = TypeVar("A", bound=HasLogits)


def decide(
    router: Router,
    described: Tensor,
    answers: Callable[[Sequence[tuple[int, str]]], Sequence[A]],
    *,
    for_unknown: A | None = None,
) -> list[tuple[Route, A]]:
    """Return the route of each described clip (n, d), with the answer of the task that it is sent to.

    Args:
        answers: computes the answers for pairs of a clip's row and a task's name, in the same order. A clip with a
            runner-up appears twice.
        for_unknown: stands for the answer of a clip that no task fits, which then is not computed; its route is the
            nearest, whose runner-up fits no better.
    """
    choices = [(route, route.runner_up) if route.runner_up else (route,) for route in router.choose(described)]
    wanted = [for_unknown is None or any(route.known for route in several) for several in choices]
    pairs = [(row, route.task) for row, several in enumerate(choices) if wanted[row] for route in several]
    found = iter(answers(pairs))
    out = []
    for several, is_wanted in zip(choices, wanted, strict=True):
        if is_wanted or for_unknown is None:
            out.append(most_confident(router, [(route, next(found)) for route in several]))
        else:
            out.append((several[0], for_unknown))
    return out


def most_confident(router: Router, answered: Sequence[tuple[Route, A]]) -> tuple[Route, A]:
    """Return the nearest task, which comes first, or its runner-up where the runner-up's head is more confident.

    A task without logits, or whose logits are not all finite, is out of the running, unless all are.
    """
    nearest, *others = [one for one in answered if _is_finite(one[1].logits)] or answered[:1]
    for route, answer in others:
        calibrations = router.confidence(nearest[0].task), router.confidence(route.task)
        if more_confident(nearest[1].logits, answer.logits, calibrations):
            return route, answer
    return nearest


def _is_finite(logits: Tensor) -> bool:
    return len(logits) > 0 and bool(torch.isfinite(logits).all())


def confidence(logits: Tensor) -> Tensor:
    """Return minus the entropy of logits (n, classes), divided by the largest possible entropy: (n,) in [-1, 0].

    Of tags, too, it is that of a softmax: it is only compared with that of the task's own clips.
    """
    probabilities = logits.float().softmax(dim=1)
    entropy = -(probabilities * probabilities.clamp_min(1e-12).log()).sum(dim=1)
    return -entropy / max(1e-6, float(torch.tensor(logits.shape[1]).log()))


def confidence_calibration(logits: Tensor) -> Tensor:
    """Return the order statistics (101,) of a head's confidence for the logits (n, classes) of validation clips."""
    return calibrate(confidence(logits)) if len(logits) else UNCALIBRATED.clone()


def head_p_value(router: Router, task: str, logits: Tensor) -> float:
    """Return the p-value of a head's confidence for logits (classes,), among that of the task's own clips."""
    return float(p_values(router.confidence(task), confidence(logits[None])))


def more_confident(first: Tensor, second: Tensor, calibrations: tuple[Tensor, Tensor]) -> bool:
    """Return whether the second head is more confident of a clip than the first.

    Each confidence is first turned into a p-value among those of the head's own clips, so that the two can be compared.

    Args:
        first, second: logits (classes,) of the nearest task and of its runner-up.
        calibrations: the `confidence_calibration` of each.
    """
    pairs = zip((first, second), calibrations, strict=True)
    nearest, runner_up = (p_values(own, confidence(logits[None])).item() for logits, own in pairs)
    return runner_up > nearest
