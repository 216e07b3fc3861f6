"""Writes and reads the file of a shared part: tensors that several tasks share, in half precision."""

from collections.abc import Mapping

import torch
from torch import Tensor

from cl_ast.adapters.adapter import check_shapes
from cl_ast.adapters.method import Method
from cl_ast.adapters.spec import MethodSpec, parse, shared_by_tasks
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import ClAstError, CorruptRegistryError, TrainingError
from registry import header


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the tensors of a shared part as a file; the registry writes its description into the header.

    Raises TrainingError for a number beyond the range of half precision.
    """
    from safetensors.torch import save

    rounded = {name: tensor.detach().half().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in rounded.values()):
        raise TrainingError("the shared part has numbers beyond the range of half precision; use a smaller --lr")
    return bytes(save(rounded))


def from_bytes(data: bytes, backbone: Backbone, methods: Mapping[str, Method]) -> tuple[MethodSpec, dict[str, Tensor]]:
    """Return the method of a shared part's file, and its tensors in single precision on the backbone's device.

    Raises CorruptRegistryError where it is not such a file, or was trained over another backbone.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        words = header.check(data).description()
        spec = parse(str(words["method"]), methods, stored=True)
        tensors = {name: tensor.float().to(backbone.device) for name, tensor in load(data).items()}
        shapes = {name: one.weight.shape for name, one in shared_by_tasks(spec, backbone.shape).items()}
        check_shapes(shapes, tensors, f"the shared part ({spec})")
        other = words["backbone"]["fingerprint"] != backbone.fingerprint
    except (ClAstError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CorruptRegistryError(f"not the file of a shared part of cl-ast ({error})") from None
    if other:
        raise CorruptRegistryError(f"the shared part was trained over another backbone than {backbone.name}")
    return spec, tensors
