"""How a file holds the numbers of a task: in single precision, in half, or in 8 bits with a scale a row.

What is kept is what answers: a task is rounded before it is measured and committed (rounding.py), and reading the file
gives the same numbers back to the bit. So all of these are exact on what they made: encoding is idempotent.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from cl_ast.adapters.spec import MethodSpec, owned
from cl_ast.backbone.sites import Shape
from cl_ast.errors import CorruptRegistryError

Kind = Literal["fp32", "fp16", "int8"]
SCALE = ".scale"  # behind the name of a tensor in 8 bits
_STEPS = 127
_TINY = 1e-30  # a row of nothing larger is stored as zeros


def encoded(name: str, tensor: Tensor, kind: Kind) -> dict[str, Tensor]:
    """A float32 tensor as a file holds it.

    In 8 bits a matrix has a scale for each row or each column, whichever are fewer; vectors stay in half precision.
    """
    if kind == "fp32":
        return {name: tensor}
    if kind == "fp16" or tensor.dim() < 2:
        return {name: tensor.half()}
    matrix = tensor.flatten(1)
    scale = _scale(matrix.abs().amax(dim=1 if _by_row(matrix) else 0))
    by = scale[:, None] if _by_row(matrix) else scale
    steps = (matrix / torch.where(by > 0, by, 1)).round().clamp(-_STEPS, _STEPS)
    return {name: torch.where(by > 0, steps, 0).to(torch.int8).view(tensor.shape), name + SCALE: scale}


def decoded(name: str, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Kind]:
    """What `encoded` made, in float32. Any other tensor is handed back as it is, for others to judge.

    Raises:
        CorruptRegistryError: a tensor in 8 bits has no scales, or scales of another size or type.
    """
    tensor = tensors[name]
    if tensor.dtype == torch.float16:
        return tensor.float(), "fp16"
    if tensor.dtype != torch.int8 or tensor.dim() < 2:
        return tensor, "fp32"
    matrix = tensor.flatten(1)
    scale = tensors.get(name + SCALE)
    rows = _by_row(matrix)
    if scale is None or scale.dtype != torch.float32 or scale.shape != matrix.shape[: 1 if rows else None][-1:]:
        raise CorruptRegistryError(f"{name} is in 8 bits, and {name + SCALE} does not hold its scales")
    return (matrix * (scale[:, None] if rows else scale)).view(tensor.shape), "int8"


@lru_cache(maxsize=256)
def fixed_types(spec: MethodSpec, shape: Shape) -> dict[str, torch.dtype]:
    """The tensors of a method that are not rounded, with their types in a file: 1-bit, drawn, or not trained."""
    weights = {name: one.weight for name, one in owned(spec, shape).items()}
    return {
        name: weight.file_dtype
        for name, weight in weights.items()
        if not weight.trained or weight.file_dtype != torch.float32
    }


def all_decoded(
    tensors: Mapping[str, Tensor], fixed: Mapping[str, torch.dtype], what: str
) -> tuple[dict[str, Tensor], dict[str, Kind]]:
    """A file's tensors as they compute, and how those were held that were rounded.

    Args:
        fixed: those that are of one type only, with that type.
        what: whose they are, for the error.

    Raises:
        CorruptRegistryError: a tensor is of a type that it cannot be held in.
    """
    found: dict[str, Tensor] = {}
    kinds: dict[str, Kind] = {}
    scales = {name + SCALE for name, tensor in tensors.items() if tensor.dtype == torch.int8}
    for name in [name for name in tensors if name not in scales]:
        kind: Kind = "fp32"
        tensor = tensors[name]
        if name not in fixed:
            tensor, kind = decoded(name, tensors)
        expected = fixed.get(name, torch.float32)
        if tensor.dtype != expected:
            given, right = (str(one).removeprefix("torch.") for one in (tensor.dtype, expected))
            raise CorruptRegistryError(f"{what} has {name} in {given}, expected {right}")
        found[name] = tensor
        if kind != "fp32":
            kinds[name] = kind
    return found, kinds


def _by_row(matrix: Tensor) -> bool:
    return matrix.shape[0] <= matrix.shape[1]


def _scale(largest: Tensor) -> Tensor:
    """largest / 127 in 16 bits of mantissa: 127 times that is exact, so that what is rounded stays as it is."""
    scale = torch.where(largest > _TINY, largest / _STEPS, 0).contiguous()
    return ((scale.view(torch.int32) + 128) & ~255).view(torch.float32)
