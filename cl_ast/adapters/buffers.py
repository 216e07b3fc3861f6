"""Stores the tensors of an adapter in one buffer for each kind, so that many adapters are gathered in one copy."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from cl_ast.adapters.spec import MethodSpec, owned
from cl_ast.backbone.sites import Shape

Kind = tuple[torch.dtype, bool]
"""What is in a buffer: the type of its numbers, and whether it stays so where the layers compute in bf16."""

Flat = Mapping[Kind, Tensor]
"""All numbers of an adapter in a buffer (numbers,) for each kind; of several adapters, (batch, numbers)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each tensor of a method lies in the buffers: shapes by name in a fixed order, and the names by kind."""

    shapes: Mapping[str, tuple[int, ...]]
    names: Mapping[Kind, tuple[str, ...]]

    def flatten(self, tensors: Mapping[str, Tensor]) -> Flat:
        """Return a copy of the tensors, in one buffer for each kind."""
        return {
            kind: torch.cat([tensors[name].detach().reshape(-1) for name in names])
            for kind, names in self.names.items()
        }

    def views(self, flat: Flat) -> dict[str, Tensor]:
        """Return each tensor as a view of its buffer; it has the buffer's leading batch dimension, if there is one."""
        found = {}
        for kind, names in self.names.items():
            sizes = [math.prod(self.shapes[name]) for name in names]
            for name, part in zip(names, torch.split(flat[kind], sizes, dim=-1), strict=True):
                found[name] = part.view(*part.shape[:-1], *self.shapes[name])
        return found


@lru_cache(maxsize=256)
def layout(spec: MethodSpec, shape: Shape) -> Layout:
    """Return the layout of a method on a backbone of this shape. Raises MethodError as `owned` does."""
    weights = {name: one.weight for name, one in owned(spec, shape).items()}
    kinds: dict[Kind, list[str]] = {}
    for name, weight in weights.items():
        kinds.setdefault((weight.memory_dtype, weight.single or not weight.memory_dtype.is_floating_point), []).append(
            name
        )
    return Layout(
        {name: weight.shape for name, weight in weights.items()},
        {kind: tuple(names) for kind, names in kinds.items()},
    )


def gathered(adapters: list[Flat]) -> Flat:
    """Stack the buffers of several adapters of one method, one row for each adapter."""
    return {kind: torch.stack([flat[kind] for flat in adapters]) for kind in adapters[0]}


def in_type(flat: Flat, dtype: torch.dtype) -> Flat:
    """Return the buffers in the type that layers compute with; those that stay in their own type are not copied."""
    return {kind: buffer if kind[1] else buffer.to(dtype) for kind, buffer in flat.items()}
