"""Where the tensors of a method lie when they are kept in one buffer a type: gathering many adapters is one copy."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from cl_ast.adapters.spec import MethodSpec, owned
from cl_ast.backbone.sites import Shape

Flat = Mapping[torch.dtype, Tensor]
"""All numbers of an adapter: a buffer (numbers,) of each type, or (batch, numbers) of several adapters."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The shapes of a method's tensors by name, in a fixed order, and the names of each type."""

    shapes: Mapping[str, tuple[int, ...]]
    names: Mapping[torch.dtype, tuple[str, ...]]

    def flatten(self, tensors: Mapping[str, Tensor]) -> Flat:
        """A copy of the tensors, one buffer a type."""
        return {
            dtype: torch.cat([tensors[name].detach().reshape(-1) for name in names])
            for dtype, names in self.names.items()
        }

    def views(self, flat: Flat) -> dict[str, Tensor]:
        """Each tensor as a part of its buffer, with the leading batch dimension of the buffer where it has one."""
        found = {}
        for dtype, names in self.names.items():
            sizes = [math.prod(self.shapes[name]) for name in names]
            for name, part in zip(names, torch.split(flat[dtype], sizes, dim=-1), strict=True):
                found[name] = part.view(*part.shape[:-1], *self.shapes[name])
        return found


@lru_cache(maxsize=256)
def layout(spec: MethodSpec, shape: Shape) -> Layout:
    """The layout of a method over a backbone of this shape. Raises MethodError as `owned` does."""
    weights = {name: one.weight for name, one in owned(spec, shape).items()}
    types: dict[torch.dtype, list[str]] = {}
    for name, weight in weights.items():
        types.setdefault(weight.memory_dtype, []).append(name)
    return Layout(
        {name: weight.shape for name, weight in weights.items()},
        {dtype: tuple(names) for dtype, names in types.items()},
    )


def gathered(adapters: list[Flat]) -> Flat:
    """The buffers of several adapters of one method, a row each."""
    return {dtype: torch.stack([flat[dtype] for flat in adapters]) for dtype in adapters[0]}
