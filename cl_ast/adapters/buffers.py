"""Stores the tensors of an adapter in one buffer for each type, so that many adapters are gathered in one copy."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from cl_ast.adapters.spec import MethodSpec, owned
from cl_ast.backbone.sites import Shape

Flat = Mapping[torch.dtype, Tensor]
"""All numbers of an adapter in a buffer (numbers,) for each type; of several adapters, (batch, numbers)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each tensor of a method lies in the buffers: shapes by name in a fixed order, and the names by type."""

    shapes: Mapping[str, tuple[int, ...]]
    names: Mapping[torch.dtype, tuple[str, ...]]

    def flatten(self, tensors: Mapping[str, Tensor]) -> Flat:
        """Return a copy of the tensors, in one buffer for each type."""
        return {
            dtype: torch.cat([tensors[name].detach().reshape(-1) for name in names])
            for dtype, names in self.names.items()
        }

    def views(self, flat: Flat) -> dict[str, Tensor]:
        """Return each tensor as a view of its buffer; it has the buffer's leading batch dimension, if there is one."""
        found = {}
        for dtype, names in self.names.items():
            sizes = [math.prod(self.shapes[name]) for name in names]
            for name, part in zip(names, torch.split(flat[dtype], sizes, dim=-1), strict=True):
                found[name] = part.view(*part.shape[:-1], *self.shapes[name])
        return found


@lru_cache(maxsize=256)
def layout(spec: MethodSpec, shape: Shape) -> Layout:
    """Return the layout of a method on a backbone of this shape. Raises MethodError as `owned` does."""
    weights = {name: one.weight for name, one in owned(spec, shape).items()}
    types: dict[torch.dtype, list[str]] = {}
    for name, weight in weights.items():
        types.setdefault(weight.memory_dtype, []).append(name)
    return Layout(
        {name: weight.shape for name, weight in weights.items()},
        {dtype: tuple(names) for dtype, names in types.items()},
    )


def gathered(adapters: list[Flat]) -> Flat:
    """Stack the buffers of several adapters of one method, one row for each adapter."""
    return {dtype: torch.stack([flat[dtype] for flat in adapters]) for dtype in adapters[0]}
