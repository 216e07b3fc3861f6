"""Reads an AdaLoRA that peft wrote, as the LoRA that computes the same."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cl_ast.errors import MethodError
from cl_ast.sharing import peft

TYPE = "ADALORA"
_ENDINGS = ("lora_A", "lora_B", "lora_E")
# Settings of its schedule and its regulariser, and those of a LoRA that peft does not read for it.
_NOT_READ = frozenset({
    "target_r", "init_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight", "total_step",
    "rank_pattern", "alpha_pattern", "use_rslora",
})  # fmt: skip


def as_lora(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the configuration and the tensors of a LoRA with A = Λ Q and B = P, by peft's names.

    All maps get the largest rank that one of them has; the others are padded with zeros. peft divides alpha by the rank
    at the start, whatever the rank has become.

    Raises:
        MethodError: its tensors contradict each other, or its alpha or its rank is no positive number.
    """
    start, alpha = (_positive(config.get(key)) for key in ("init_r", "lora_alpha"))
    updates: dict[str, dict[str, Tensor]] = {}
    others: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        module, _, ending = name.rpartition(".")
        if ending in _ENDINGS:
            updates.setdefault(module, {})[ending] = tensor.float()
        else:
            others[name] = tensor
    for module, parts in updates.items():
        _check(module, parts)
    rank = max([1, *(parts["lora_A"].shape[0] for parts in updates.values())])
    for module, parts in updates.items():
        a, b = parts["lora_E"] * parts["lora_A"], parts["lora_B"]
        more = rank - len(a)
        others[f"{module}.{peft.SIDES['a']}"] = torch.cat([a, a.new_zeros(more, a.shape[1])])
        others[f"{module}.{peft.SIDES['b']}"] = torch.cat([b, b.new_zeros(b.shape[0], more)], dim=1)
    kept = {key: value for key, value in config.items() if key not in _NOT_READ}
    return {**kept, "peft_type": peft.TYPE, "r": rank, "lora_alpha": rank * alpha / (start + 1e-5)}, others


def _positive(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise MethodError("the AdaLoRA's adapter_config.json does not say an init_r and a lora_alpha above 0")
    return value


def _check(module: str, parts: Mapping[str, Tensor]) -> None:
    """Raise MethodError unless Q (r, in), Λ (r, 1) and P (out, r) are there."""
    if set(parts) != set(_ENDINGS) or any(tensor.dim() != 2 for tensor in parts.values()):
        raise MethodError(f"the AdaLoRA lacks one of the tensors of {module[:100]}; save it again")
    rank = parts["lora_A"].shape[0]
    if parts["lora_E"].shape != (rank, 1) or parts["lora_B"].shape[1] != rank:
        raise MethodError(f"the AdaLoRA's tensors of {module[:100]} have different ranks; save it again")
