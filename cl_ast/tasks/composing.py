"""Adds the sparse changes of two tasks, such as one that learned a place's sound and one that learned its events."""

from dataclasses import replace

import torch
from torch import Tensor

from cl_ast.adapters.adapter import Adapter
from cl_ast.adapters.forms import SparseChange
from cl_ast.adapters.spec import parse
from cl_ast.errors import MethodError
from cl_ast.tasks.task_model import TaskModel


def with_change_of(model: TaskModel, other: TaskModel) -> TaskModel:
    """Return a task with the sparse changes of both: θ = θ₀ + φ₁ + φ₂ (Ansell et al. 2022, section 3.2).

    It has the head, the labels and all else of `model`, and can be stored as any task.

    Raises:
        MethodError: one of them is no trained task of the method `ltsft`, or they have different backbones.
    """
    one, second = (_change(task) for task in (model, other))
    if model.backbone.fingerprint != other.backbone.fingerprint:
        raise MethodError(
            f"{model.settings.name} and {other.settings.name} have different backbones; their changes cannot be added"
        )
    both = torch.cat([one[0], second[0]])
    indices, places = torch.unique(both, return_inverse=True)  # in ascending order
    values = torch.zeros(len(indices), device=one[1].device).index_add(0, places, torch.cat([one[1], second[1]]))
    lowest = min(placement.first for task in (model, other) for placement in task.settings.method.placements)
    method = parse(f"ltsft:k={len(indices)}", from_layer=lowest or None, stored=True)
    tensors = {"shared.ltsft.indices": indices, "shared.ltsft.values": values}
    settings = replace(model.settings, method=method)
    return TaskModel(settings, model.backbone, Adapter(method, model.backbone, tensors), model.head)


def _change(task: TaskModel) -> tuple[Tensor, Tensor]:
    """Return the indices and the values of a task's sparse change."""
    if not all(isinstance(placement.form, SparseChange) for placement in task.settings.method.placements):
        raise MethodError(f"{task.settings.name} is {task.settings.method}: only changes of ltsft can be added")
    tensors = task.adapter.tensors
    return tensors["shared.ltsft.indices"], tensors["shared.ltsft.values"]
