"""A task's routing from its described clips."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cl_ast.router.calibration import calibrate
from cl_ast.router.kinds import DEFAULT, KINDS, State, fit_beside, noise_fits
from cl_ast.router.task_routing import TaskRouting
from cl_ast.router.tie_break import confidence_calibration

_FEWEST = 20  # validation clips for a calibration of their own
_FOLDS = 5


def learn(
    training: Tensor,
    targets: Sequence[int],
    validation: Tensor,
    *,
    generator: torch.Generator,
    kind: str = DEFAULT,
    description_id: bytes = bytes(16),
    copies: int = 1,
    logits: Tensor | None = None,
    noise: State | None = None,
) -> TaskRouting:
    """A task's state and calibration.

    Args:
        training: (copies · n, d) described training clips: all as they are, then all as each altered copy.
        targets: (n,) their classes.
        validation: (m, d) described clips that the state is not learned from; with fewer than 20, each fifth of the
            training clips is also fitted to a state learned from the other four.
        description_id: of the router space that the clips were described in.
        logits: (m, classes) of the task's own head on validation clips.
        noise: `RouterSpace.noise`.
    """
    router, labels = KINDS[kind], torch.as_tensor(targets)

    def with_copies(rows: Tensor) -> Tensor:
        return torch.cat([rows + copy * len(labels) for copy in range(copies)])

    state = router.learn(training, labels.repeat(copies), generator)
    fits = fit_beside(noise_fits(noise, validation), state, validation)
    if len(validation) < _FEWEST:
        order = torch.randperm(len(labels), generator=generator)
        for fold in range(min(_FOLDS, len(labels) - 1)):
            mine = torch.arange(len(labels)) % _FOLDS == fold
            others = order[~mine]
            part = router.learn(training[with_copies(others)], labels[others].repeat(copies), generator)
            held_out = training[order[mine]]
            fits = torch.cat([fits, fit_beside(noise_fits(noise, held_out), part, held_out)])
    confidence = confidence_calibration(torch.zeros(0, 1) if logits is None else logits)
    return TaskRouting(kind, state, calibrate(fits), confidence, description_id)
