"""The number formats of a task's file: single precision, half precision, or 8 bits with a scale for each row.

The stored numbers are those that classify: a task is rounded before it is measured and committed
(`training.quantising`), and reading its file gives the same numbers bit for bit. Encoding is therefore idempotent:
numbers that were decoded from a format are encoded in it without any change.
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
SCALE = ".scale"  # appended to the name of a tensor in 8 bits
_STEPS = 127
_TINY = 1e-30  # a row with no larger number is stored as zeros


def encoded(name: str, tensor: Tensor, kind: Kind) -> dict[str, Tensor]:
    """Return a float32 tensor as a file holds it, under `name`, with its scales if it is in 8 bits.

    In 8 bits a matrix has a scale for each row or for each column, whichever are fewer; vectors are in half precision.
    """
    if kind == "fp32":
        return {name: tensor}
    if kind == "fp16" or tensor.dim() < 2:
        return {name: tensor.half()}
    matrix = tensor.flatten(1)
    scale = _scale(matrix.abs().amax(dim=1 if _by_row(matrix) else 0))
    divisor = scale[:, None] if _by_row(matrix) else scale
    steps = (matrix / torch.where(divisor > 0, divisor, 1)).round().clamp(-_STEPS, _STEPS)
    return {name: torch.where(divisor > 0, steps, 0).to(torch.int8).view(tensor.shape), name + SCALE: scale}


def decoded(name: str, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Kind]:
    """Return the tensor `name` in float32, with the format it was in; a tensor of another type is returned as it is.

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
    """Return the types in a file of the tensors that are not rounded: those that are 1-bit, drawn or not trained."""
    weights = {name: one.weight for name, one in owned(spec, shape).items()}
    return {
        name: weight.file_dtype
        for name, weight in weights.items()
        if not weight.trained or weight.file_dtype != torch.float32
    }


def all_decoded(
    tensors: Mapping[str, Tensor], fixed: Mapping[str, torch.dtype], what: str
) -> tuple[dict[str, Tensor], dict[str, Kind]]:
    """Return a file's tensors decoded for computing, and the formats of those that were rounded.

    Args:
        fixed: the types of the tensors that are not rounded (`fixed_types`).
        what: whose tensors they are, for error messages.

    Raises:
        CorruptRegistryError: a tensor has a type that it must not have in a file.
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
            found_type, right = (str(one).removeprefix("torch.") for one in (tensor.dtype, expected))
            raise CorruptRegistryError(f"{what} has {name} in {found_type}, expected {right}")
        found[name] = tensor
        if kind != "fp32":
            kinds[name] = kind
    return found, kinds


def _by_row(matrix: Tensor) -> bool:
    return matrix.shape[0] <= matrix.shape[1]


def _scale(largest: Tensor) -> Tensor:
    """Return largest / 127, rounded to a mantissa of 16 bits.

    127 times this scale is then exact in float32, so that encoding decoded numbers gives the same scale again.
    """
    scale = torch.where(largest > _TINY, largest / _STEPS, 0).contiguous()
    return ((scale.view(torch.int32) + 128) & ~255).view(torch.float32)
