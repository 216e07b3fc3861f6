"""Classifies rows of different tasks, each with its own head, in a number of operations that does not grow with tasks.

Heads have different numbers of classes. All their weights are put one below the other, and each row takes those of its
task by their places, with as many as the largest head has; what is too many is cut off the row's logits.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from cl_ast.adapters.forms.layers import layer_norm
from cl_ast.backbone.pooling import pooled
from cl_ast.tasks.task_model import TaskModel

# Taking weights for each row costs memory: beyond so many numbers, each task's rows are classified on their own.
_MOST_NUMBERS = 2**26


def classify(tokens: Tensor, models: Sequence[TaskModel]) -> list[Tensor]:
    """Return the logits (classes,) of each row under its own task.

    Args:
        tokens: the backbone's last tokens (rows, n, width), before the final LayerNorm.
        models: the task of each row; all have the same backbone.
    """
    tokens = tokens.float()
    groups: dict[str, list[int]] = defaultdict(list)
    for row, model in enumerate(models):
        groups[model.settings.pooling].append(row)
    if len(groups) == 1:
        return _rows(tokens, models)
    out: list[Tensor] = [torch.empty(0)] * len(models)
    for rows in groups.values():
        found = _rows(tokens[torch.tensor(rows, device=tokens.device)], [models[row] for row in rows])
        for row, logits in zip(rows, found, strict=True):
            out[row] = logits
    return out


def _rows(tokens: Tensor, models: Sequence[TaskModel]) -> list[Tensor]:
    """Return the same for tasks of one pooling."""
    shape = models[0].backbone.shape
    if shape.final_norm:
        gain, offset = (torch.stack([m.head[f"head.norm.{kind}"] for m in models]) for kind in ("weight", "bias"))
        tokens = layer_norm(tokens, gain, offset, shape.norm_eps)
    vectors = pooled(tokens, models[0].settings.pooling)
    classes = [len(model.settings.labels) for model in models]
    if len(models) * max(classes) * vectors.shape[1] > _MOST_NUMBERS:
        return [model.decide(vector) for model, vector in zip(models, vectors, strict=True)]
    distinct = list({id(model): model for model in models}.values())
    first: dict[int, int] = {}
    total = 0
    for model in distinct:
        first[id(model)] = total
        total += len(model.settings.labels)
    places = torch.tensor([first[id(model)] for model in models])[:, None] + torch.arange(max(classes))
    places = places.clamp_max(total - 1).to(vectors.device, non_blocking=True)
    weight, bias = (
        torch.cat([model.head[f"head.{kind}"] for model in distinct])[places] for kind in ("weight", "bias")
    )
    logits = torch.baddbmm(bias.unsqueeze(2), weight, vectors.unsqueeze(2)).squeeze(2)
    return [row[:count] for row, count in zip(logits, classes, strict=True)]
