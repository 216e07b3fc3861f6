"""Rounds a trained task to the number format of its file; "auto" does so only if predictions stay nearly the same."""

from dataclasses import replace

import torch
from torch import Tensor

from cl_ast.errors import TrainingError
from cl_ast.tasks.label_kinds import LabelKind
from cl_ast.tasks.number_formats import Kind
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.cached_states import CachedStates, SplitForward
from cl_ast.training.clips import ClipSet
from cl_ast.training.options import STORES
from cl_ast.training.trainer import Trained, outputs, scores

# The largest change of a validation logit, and the largest loss of validation accuracy, that "auto" allows.
_LOGITS = 1e-2
_ACCURACY = 1e-3


def rounded(
    model: TaskModel, trained: Trained, validation: ClipSet, store: str
) -> tuple[Trained, tuple[Tensor, Tensor]]:
    """Round the task in place; return `trained` with the accuracy and loss of the rounded weights, and their outputs.

    The outputs are the logits (n, labels) of the validation clips as the task is now, and their targets.

    Args:
        validation: the clips that `trained` was measured on.
        store: one of `STORES`. "auto" is half precision if no logit of a validation clip changes by more than 0.01 and
            the accuracy falls by at most 0.1 points, else single precision. "int8" is used whatever it costs, so look
            at the accuracy.

    Raises:
        TrainingError: there is no such store, or a weight is beyond the range of half precision.
    """
    if store not in STORES:
        raise TrainingError(f"a task cannot be stored as {store!r}; there are {', '.join(STORES)}")
    # Measured in single precision whatever the training used, since the errors of a backbone in bf16 are larger than
    # those of rounding.
    states = CachedStates(validation, SplitForward(model, "fp32"))
    before, targets = outputs(states)
    labelling = model.settings.labelling
    if store == "fp32":
        return trained, (before, targets)
    kind: Kind = "int8" if store == "int8" else "fp16"
    exact = {name: tensor.clone() for name, tensor in model.state().items()}
    model.round(kind)
    if all(bool(torch.isfinite(tensor).all()) for tensor in model.state().values()):
        after = outputs(states)[0]
        if store != "auto" or _nearly_same(labelling, before, after, targets):
            accuracy, loss = scores(labelling, after, targets)
            return replace(trained, accuracy=accuracy, loss=loss), (after, targets)
    elif store != "auto":
        raise TrainingError(f"a weight is beyond the range of half precision; use --store fp32 and not {store}")
    with torch.no_grad():
        for name, tensor in model.state().items():
            tensor.copy_(exact[name])
    model.stored = {}
    return trained, (before, targets)


def _nearly_same(labelling: LabelKind, before: Tensor, after: Tensor, targets: Tensor) -> bool:
    lost = labelling.measure(before, targets) - labelling.measure(after, targets)
    return float((after - before).abs().max()) <= _LOGITS and lost <= _ACCURACY
