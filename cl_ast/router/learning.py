"""Learns a task's routing from its described clips."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cl_ast.errors import StreamError
from cl_ast.router.calibration import calibrate
from cl_ast.router.kinds import DEFAULT, KINDS, State, fit_or_noise, noise_fits
from cl_ast.router.task_routing import TaskRouting
from cl_ast.router.tie_break import confidence_calibration

_FEWEST = 20  # validation clips that are enough for the calibration
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
    """Learn a task's state and calibration.

    Args:
        training: (copies · n, d) described training clips: first all clips as they are, then all of each altered copy.
        targets: (n,) their classes.
        validation: (m, d) described clips that the state is not learned from. If there are fewer than 20, the
            calibration also uses the training clips, by 5-fold cross-validation.
        description_id: that of the router space in which the clips were described.
        copies: how many copies of each clip `training` has, with the clip itself.
        logits: (m, classes) the output of the task's head for the validation clips.
        noise: `RouterSpace.noise`.

    Raises:
        StreamError: all clips that calibrate are alike.
    """
    router, labels = KINDS[kind], torch.as_tensor(targets)

    def with_copies(rows: Tensor) -> Tensor:
        return torch.cat([rows + copy * len(labels) for copy in range(copies)])

    state = router.learn(training, labels.repeat(copies), generator)
    fits = fit_or_noise(noise_fits(noise, validation), state, validation)
    if len(validation) < _FEWEST:
        order = torch.randperm(len(labels), generator=generator)
        for fold in range(min(_FOLDS, len(labels) - 1)):
            in_fold = torch.arange(len(labels)) % _FOLDS == fold
            others = order[~in_fold]
            fold_state = router.learn(training[with_copies(others)], labels[others].repeat(copies), generator)
            unseen = training[order[in_fold]]
            fits = torch.cat([fits, fit_or_noise(noise_fits(noise, unseen), fold_state, unseen)])
    if not len(fits) or bool(fits.min() == fits.max()):
        raise StreamError("all its clips sound alike to the router, so it cannot learn what belongs to the task")
    confidence = confidence_calibration(torch.zeros(0, 1) if logits is None else logits)
    return TaskRouting(kind, state, calibrate(fits), confidence, description_id)
