"""A task that was just trained, rounded to how its file will hold it, where its answers hold."""

from dataclasses import replace

import torch
from torch import Tensor

from cl_ast.errors import TrainingError
from cl_ast.tasks.number_formats import Kind
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.cached_states import CachedStates, SplitForward
from cl_ast.training.clips import ClipSet
from cl_ast.training.options import STORES
from cl_ast.training.trainer import Trained, outputs, scores

_LOGITS = 1e-2  # how far a validation logit may move, "auto"
_ACCURACY = 1e-3  # how much validation accuracy may be lost, "auto"


def rounded(model: TaskModel, trained: Trained, validation: ClipSet, store: str) -> Trained:
    """Round the task in place. Its accuracy and loss are measured again with the rounded weights.

    Args:
        validation: the clips that `trained` was measured on.
        store: one of `STORES`. "auto" is half precision where no logit of a validation clip moves by more than 0.01 and
            accuracy falls by at most 0.1 points, else single. "int8" is taken as it comes: look at the accuracy.

    Raises:
        TrainingError: there is no such store, or a weight is beyond the range of half precision.
    """
    if store not in STORES:
        raise TrainingError(f"a task cannot be stored as {store!r}; there are {', '.join(STORES)}")
    if store == "fp32":
        return trained
    kind: Kind = "int8" if store == "int8" else "fp16"
    exact = {name: tensor.clone() for name, tensor in model.state().items()}
    # Measured in single precision, whatever it was trained in: half a backbone would drown what is measured.
    states = CachedStates(validation, SplitForward(model, "fp32"))
    before, targets = outputs(states)
    model.round(kind)
    if all(bool(torch.isfinite(tensor).all()) for tensor in model.state().values()):
        after = outputs(states)[0]
        if store != "auto" or _holds(before, after, targets):
            accuracy, loss = scores(after, targets)
            return replace(trained, accuracy=accuracy, loss=loss)
    elif store != "auto":
        raise TrainingError(f"a weight is beyond the range of half precision; use --store fp32 and not {store}")
    with torch.no_grad():
        for name, tensor in model.state().items():
            tensor.copy_(exact[name])
    model.stored = {}
    return trained


def _holds(before: Tensor, after: Tensor, targets: Tensor) -> bool:
    lost = scores(before, targets)[0] - scores(after, targets)[0]
    return float((after - before).abs().max()) <= _LOGITS and lost <= _ACCURACY
