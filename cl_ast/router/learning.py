"""Learns a task's routing from its described clips."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cl_ast.errors import StreamError
from cl_ast.router.calibration import ALPHA, calibrate
from cl_ast.router.kinds import DEFAULT, KINDS, Negatives, State, fits_of, noise_fits
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
    negatives: Tensor | None = None,
    alpha: float = ALPHA,
) -> TaskRouting:
    """Learn a task's state and calibration.

    Args:
        training: (copies · n, d) described training clips: first all clips as they are, then all of each altered copy.
        targets: (n,) their classes.
        validation: (copies · m, d) described clips that the state is not learned from, and altered copies of them, as
            in `training`, so that a clip which was cut or padded is not unknown for that. If there are fewer than 20,
            the calibration also uses the training clips, by 5-fold cross-validation.
        description_id: that of the router space in which the clips were described.
        copies: how many copies of each clip there are, with the clip itself.
        logits: (m, classes) the output of the task's head for the validation clips.
        noise: `RouterSpace.noise`.
        negatives: (copies · k, d) described clips of none of the classes, and copies of them, as in `training`.
        alpha: the p-value below which a clip is to be unknown, in whole hundredths.

    Raises:
        StreamError: all clips that calibrate are alike.
    """
    router, labels = KINDS[kind], torch.as_tensor(targets)

    def with_copies(rows: Tensor) -> Tensor:
        return torch.cat([rows + copy * len(labels) for copy in range(copies)])

    state = router.learn(training, labels.repeat(copies), generator)
    own = None if negatives is None else _negatives(kind, state, negatives)

    def fits_to(state: State, own: Negatives | None, unseen: Tensor) -> Tensor:
        # Many copies are nearer to noise than their clip. If they counted as that, noise would be accepted.
        clips = unseen[: len(unseen) // copies]
        itself = fits_of(state, clips, noise_fits(noise, clips), own)
        return state.fit(unseen) - (itself.noise | itself.negatives).float().repeat(copies)

    fits = [fits_to(state, own, validation)]
    if len(validation) < _FEWEST * copies:
        order = torch.randperm(len(labels), generator=generator)
        for fold in range(min(_FOLDS, len(labels) - 1)):
            in_fold = torch.arange(len(labels)) % _FOLDS == fold
            others = order[~in_fold]
            fold_state = router.learn(training[with_copies(others)], labels[others].repeat(copies), generator)
            fold_own = None if own is None else Negatives(kind, fold_state, own.state)
            fits.append(fits_to(fold_state, fold_own, training[with_copies(order[in_fold])]))
    of_clips = torch.cat([each[: len(each) // copies] for each in fits])  # without copies, which always differ
    if not len(of_clips) or bool(of_clips.min() == of_clips.max()):
        raise StreamError("all its clips sound alike to the router, so it cannot learn what belongs to the task")
    confidence = confidence_calibration(torch.zeros(0, 1) if logits is None else logits)
    return TaskRouting(kind, state, calibrate(torch.cat(fits)), confidence, description_id, alpha, own)


def unknown_negatives(routing: TaskRouting, negatives: Tensor, copies: int, noise: State | None = None) -> int:
    """Return how many negatives come out unknown, each by what the other four fifths of them teach.

    Args:
        negatives: as in `learn`; neighbours, which may come from one recording, are in the same fifth.
    """
    count, unknown = len(negatives) // copies, 0
    for unseen in torch.arange(count).chunk(_FOLDS):
        others = torch.tensor(sorted(set(range(count)) - set(unseen.tolist())))
        rows = torch.cat([others + copy * count for copy in range(copies)])
        part = replace(routing, negatives=_negatives(routing.kind, routing.state, negatives[rows]))
        clips = negatives[unseen]
        unknown += int((part.p_values(clips, noise_fits(noise, clips)) < routing.alpha).sum())
    return unknown


def _negatives(kind: str, task: State, described: Tensor) -> Negatives:
    one_class = torch.zeros(len(described), dtype=torch.long)
    return Negatives(kind, task, KINDS[kind].learn(described, one_class, torch.Generator().manual_seed(0)))
