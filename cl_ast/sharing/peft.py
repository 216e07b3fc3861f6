"""LoRA in the layout of the `peft` library: its tensor names and its configuration, both ways.

`peft` is not imported: its format is names and a JSON file. The adapter is made for transformers' `ASTModel`. The
task's final LayerNorm goes along as one of peft's `modules_to_save`, so the model that peft makes of the folder ends
with the tokens that the head expects; the head itself is a file of ours beside it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from cl_ast.adapters.forms import LowRank
from cl_ast.adapters.spec import MethodSpec
from cl_ast.errors import MethodError
from cl_ast.sites import SITES

TYPE = "LORA"
_AST = "audio_spectrogram_transformer"
_PREFIX = "base_model.model."
_NORM = "layernorm"
_SIDES = {"a": "lora_A.weight", "b": "lora_B.weight"}
_LINEAR = ("q", "k", "v", "o", "fc1", "fc2")
_SITE_OF = {path: site for site, path in SITES.items() if site in _LINEAR}
# What changes the sum that a LoRA computes; with any of these set, our form of it would answer differently.
_VARIANTS = (
    "use_dora", "use_qalora", "use_bdlora", "lora_bias", "fan_in_fan_out", "layer_replication", "target_parameters",
    "layers_to_transform", "trainable_token_indices", "alora_invocation_tokens", "arrow_config", "exclude_modules",
    "megatron_config", "velora_config", "monteclora_config", "kasa_config",
)  # fmt: skip


def fits(spec: MethodSpec) -> bool:
    """Whether peft knows this method."""
    return bool(spec.placements) and all(isinstance(placement.form, LowRank) for placement in spec.placements)


def paths(spec: MethodSpec) -> dict[str, LowRank]:
    """The module paths that a LoRA updates in a layer, with its form at each."""
    forms = {SITES[placement.site]: placement.form for placement in spec.placements}
    return {path: form for path, form in forms.items() if isinstance(form, LowRank)}


def config(spec: MethodSpec, trunk: str | None, layers: int) -> dict[str, Any]:
    """`adapter_config.json` for a LoRA.

    Args:
        trunk: its hub name, if it has one.
        layers: how many it has.
    """
    sizes = {path: (form.rank, form.scale * form.rank) for path, form in paths(spec).items()}
    rank, alpha = next(iter(sizes.values()))
    modules: list[str] = []
    for placement in spec.placements:
        path, first = SITES[placement.site], placement.first
        modules += [f"layers.{layer}.{path}" for layer in range(first, layers)] if first else [path]
    return {
        "peft_type": TYPE,
        "base_model_name_or_path": trunk,
        "auto_mapping": {
            "base_model_class": "ASTModel",
            "parent_library": f"transformers.models.{_AST}.modeling_{_AST}",
        },
        "task_type": None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {path: r for path, (r, _) in sizes.items() if r != rank},
        "alpha_pattern": {path: a for path, (_, a) in sizes.items() if a != alpha},
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": modules,
        "modules_to_save": [_NORM],
    }


def to_peft(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A task's tensors, by where they go: peft's file, by its names, and the rest."""
    theirs, ours = {}, {}
    for name, tensor in tensors.items():
        parts = name.split(".")  # layers.3.q.parallel.lora.a
        if parts[0] == "layers":
            theirs[f"{_PREFIX}layers.{parts[1]}.{SITES[parts[2]]}.{_SIDES[parts[-1]]}"] = tensor
        elif name.startswith("head.norm."):
            theirs[f"{_PREFIX}{_NORM}.{parts[-1]}"] = tensor
        else:
            ours[name] = tensor
    return theirs, ours


def from_peft(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """The method in a word, and the tensors by our names (the final LayerNorm if it was saved).

    Raises:
        MethodError: the folder holds a variant of LoRA, a place or a module that cl-ast does not have.
    """
    _refuse_variants(config)
    found: dict[str, Tensor] = {}
    sites: dict[str, int] = {}  # with the lowest layer of each
    for name, tensor in tensors.items():
        ours = _our_name(name)
        if ours is None:
            raise MethodError(f"the LoRA holds {name[:100]!r}, which is no q, k, v, o or FFN map of an ASTModel")
        found[ours] = tensor
        if ours.startswith("layers."):
            layer, site = ours.split(".")[1:3]
            sites[site] = min(int(layer), sites.get(site, int(layer)))
    return _method(config, sites), found


def _our_name(name: str) -> str | None:
    path = name.removeprefix(_PREFIX)
    if path in {f"{_NORM}.weight", f"{_NORM}.bias"} and path != name:
        return f"head.norm.{path.rpartition('.')[2]}"
    parts = path.split(".")
    if path == name or len(parts) < 5 or parts[0] != "layers" or not (parts[1].isascii() and parts[1].isdecimal()):
        return None
    site = _SITE_OF.get(".".join(parts[2:-2]))
    side = {theirs: ours for ours, theirs in _SIDES.items()}.get(".".join(parts[-2:]))
    return f"layers.{parts[1]}.{site}.parallel.lora.{side}" if site and side else None


def _refuse_variants(config: Mapping[str, Any]) -> None:
    variant = next((key for key in _VARIANTS if config.get(key)), None)
    if variant or config.get("bias", "none") != "none":
        raise MethodError(
            f"the LoRA has {variant or 'bias'} set in its adapter_config.json, which cl-ast does not have"
        )
    extra = sorted(set(map(str, _listed(config.get("modules_to_save")))) - {_NORM})
    if extra:
        raise MethodError(
            f"the LoRA saves the module {extra[0][:80]!r}, which is no part of an ASTModel's tokens: train it on "
            "ASTModel, and put the head into task.safetensors (docs/registry.md)"
        )


def _method(config: Mapping[str, Any], sites: Mapping[str, int]) -> str:
    """Sites of equal rank, scale and lowest layer make one `lora:…`; several are joined by +."""
    if not sites:
        raise MethodError("the LoRA holds no low-rank update at all")
    groups: dict[tuple[int, float, int], set[str]] = {}
    for site, first in sites.items():
        groups.setdefault((*size(config, SITES[site]), first), set()).add(site)
    words = []
    for (rank, scale, first), members in sorted(groups.items()):
        sizes = f"r={rank},s={scale!r}" + (f",from={first}" if first else "")
        letters = "".join(letter for letter in "qkvo" if letter in members)
        dense = members - set("qkvo")
        if dense and dense != {"fc1", "fc2"}:
            raise MethodError("the LoRA updates one of the FFN's two maps; cl-ast has both (lora:ffn) or none")
        words += [f"lora:{letters},{sizes}"] if letters else []
        words += [f"lora:ffn,{sizes}"] if dense else []
    return "+".join(words)


def size(config: Mapping[str, Any], path: str) -> tuple[int, float]:
    """Rank and scale at one module; a pattern's key is the module's path or the end of it."""
    rank, alpha = config.get("r"), config.get("lora_alpha")
    for name, value in _mapped(config.get("rank_pattern")).items():
        rank = value if path == name or path.endswith(f".{name}") else rank
    for name, value in _mapped(config.get("alpha_pattern")).items():
        alpha = value if path == name or path.endswith(f".{name}") else alpha
    if type(rank) is not int or rank < 1 or isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise MethodError("the LoRA's adapter_config.json does not say its r and lora_alpha")
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    if not math.isfinite(scale):
        raise MethodError("the LoRA's lora_alpha is not a number that can be used")
    return rank, float(scale)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _mapped(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
