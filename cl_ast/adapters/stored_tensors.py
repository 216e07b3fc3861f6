"""Turns the tensors of an adapter into those that a task's file holds, and back."""

from collections.abc import Mapping

import torch
from torch import Tensor

from cl_ast.adapters.adapter import check_shapes
from cl_ast.adapters.one_bit import packed, packed_centred, unpacked, unpacked_centred
from cl_ast.adapters.spec import MethodSpec, owned
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import MethodError


def to_stored(spec: MethodSpec, backbone: Backbone, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the adapter's tensors as a file holds them: 1-bit weights are packed, all others stay as they are."""
    found = dict(tensors)
    for name, one in owned(spec, backbone.shape).items():
        if one.weight.bits == 1 and name in found:
            found[name] = (packed_centred if one.weight.centred else packed)(found[name])
    return found


def from_stored(spec: MethodSpec, backbone: Backbone, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `to_stored`: return tensors that give bit-identical outputs.

    Raises:
        MethodError: packed weights have another size than the method's, or are not numbers; chosen places are not in
            ascending order, or beyond the last.
    """
    found = dict(tensors)
    for name, one in owned(spec, backbone.shape).items():
        if one.weight.start == "choice" and name in found and not _is_choice(found[name], one.weight.fan_in):
            raise MethodError(f"the adapter ({spec}) has places in {name} that do not exist; export or train it again")
        if one.weight.bits == 1 and name in found:
            check_shapes({name: (one.weight.bytes,)}, {name: found[name]}, f"the adapter ({spec})")
            values = (unpacked_centred if one.weight.centred else unpacked)(found[name].cpu(), one.weight.shape)
            if not torch.isfinite(values).all():
                raise MethodError(f"the adapter ({spec}) has values that are not numbers in {name}")
            found[name] = values.to(found[name].device)
    return found


def _is_choice(places: Tensor, count: int) -> bool:
    """Return whether these are whole numbers below `count` in ascending order, each once."""
    ascending = bool((places[1:] > places[:-1]).all())
    return ascending and not places.is_floating_point() and bool(((places >= 0) & (places < count)).all())
