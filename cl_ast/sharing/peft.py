"""Converts LoRA to and from the layout of the `peft` library: the names of tensors, and the configuration.

`peft` is not imported, since its format is only names and a JSON file. The adapter is for the stock model of the
backbone's family in transformers. The final LayerNorm of the task's head, if there is one, is stored as one of peft's
`modules_to_save`, so that the model that peft loads ends with the tokens that the head takes. The rest of the head is
in a file of its own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from cl_ast.adapters.forms import LowRank
from cl_ast.adapters.spec import MethodSpec
from cl_ast.backbone.families import Ast, Wav2Vec2
from cl_ast.backbone.sites import Paths
from cl_ast.errors import MethodError

TYPE = "LORA"
_PREFIX = "base_model.model."
_SIDES = {"a": "lora_A.weight", "b": "lora_B.weight"}
_LINEAR = ("q", "k", "v", "o", "fc1", "fc2")
# Options that change what a LoRA computes; if one of them is set, our form would compute something else.
_VARIANTS = (
    "use_dora", "use_qalora", "use_bdlora", "lora_bias", "fan_in_fan_out", "layer_replication", "target_parameters",
    "layers_to_transform", "trainable_token_indices", "alora_invocation_tokens", "arrow_config", "exclude_modules",
    "megatron_config", "velora_config", "monteclora_config", "kasa_config",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """The names of modules in a stock model.

    Attributes:
        model, package: the class, and its package in `transformers.models`.
        layers, norm: the paths of its layers and of its final LayerNorm.
        paths: the paths of the sites inside a layer.
    """

    model: str
    package: str
    layers: str
    norm: str
    paths: Paths

    def site_of(self, path: str) -> str | None:
        """Return the site of the linear map at a path inside a layer; None if there is none."""
        return next((site for site in _LINEAR if self.paths[site] == path), None)


_SPECTROGRAM = Layout("ASTModel", "audio_spectrogram_transformer", "layers", "layernorm", Ast.sites)
_WAVEFORM = Layout("Wav2Vec2Model", "wav2vec2", "encoder.layers", "encoder.layer_norm", Wav2Vec2.sites)


def layout_of(facts: Mapping[str, Any]) -> Layout:
    """Return the layout of the stock model that a task is for; the kind of front end tells which one that is."""
    front_end = facts.get("front_end")
    kind = front_end.get("kind") if isinstance(front_end, Mapping) else None
    return _WAVEFORM if kind == "waveform" else _SPECTROGRAM


def fits(spec: MethodSpec) -> bool:
    """Return whether peft has this method."""
    return bool(spec.placements) and all(isinstance(placement.form, LowRank) for placement in spec.placements)


def paths(spec: MethodSpec, layout: Layout) -> dict[str, LowRank]:
    """Return the paths of the modules that a LoRA updates in a layer, with its form at each."""
    forms = {layout.paths[placement.site]: placement.form for placement in spec.placements}
    return {path: form for path, form in forms.items() if isinstance(form, LowRank)}


def config(spec: MethodSpec, layout: Layout, backbone: str | None, layers: int, *, norm: bool) -> dict[str, Any]:
    """Return the contents of `adapter_config.json` for a LoRA.

    Args:
        backbone: the backbone's name on the hub, if it has one.
        layers: the number of the backbone's layers.
        norm: whether a final LayerNorm is stored with the LoRA.
    """
    sizes = {path: (form.rank, form.scale * form.rank) for path, form in paths(spec, layout).items()}
    rank, alpha = next(iter(sizes.values()))
    modules: list[str] = []
    for placement in spec.placements:
        path, first = layout.paths[placement.site], placement.first
        modules += [f"{layout.layers}.{layer}.{path}" for layer in range(first, layers)] if first else [path]
    return {
        "peft_type": TYPE,
        "base_model_name_or_path": backbone,
        "auto_mapping": {
            "base_model_class": layout.model,
            "parent_library": f"transformers.models.{layout.package}.modeling_{layout.package}",
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
        "modules_to_save": [layout.norm] if norm else None,
    }


def to_peft(tensors: Mapping[str, Tensor], layout: Layout) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split a task's tensors into those of peft's file, by peft's names, and the rest, by our names."""
    theirs, ours = {}, {}
    for name, tensor in tensors.items():
        parts = name.split(".")  # such as layers.3.q.parallel.lora.a
        if parts[0] == "layers":
            path = f"{layout.layers}.{parts[1]}.{layout.paths[parts[2]]}"
            theirs[f"{_PREFIX}{path}.{_SIDES[parts[-1]]}"] = tensor
        elif name.startswith("head.norm."):
            theirs[f"{_PREFIX}{layout.norm}.{parts[-1]}"] = tensor
        else:
            ours[name] = tensor
    return theirs, ours


def from_peft(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], layout: Layout
) -> tuple[str, dict[str, Tensor]]:
    """Return the method as it is written, and the tensors by our names, with the final LayerNorm if it was saved.

    Raises:
        MethodError: the folder has a variant of LoRA, a site or a module that cl-ast does not have.
    """
    _refuse_variants(config, layout)
    found: dict[str, Tensor] = {}
    sites: dict[str, int] = {}  # the lowest layer of each site
    for name, tensor in tensors.items():
        ours = _our_name(name, layout)
        if ours is None:
            raise MethodError(f"the LoRA has {name[:100]!r}, which is no q, k, v, o or FFN map of {layout.model}")
        found[ours] = tensor
        if ours.startswith("layers."):
            layer, site = ours.split(".")[1:3]
            sites[site] = min(int(layer), sites.get(site, int(layer)))
    return _method(config, sites, layout), found


def _our_name(name: str, layout: Layout) -> str | None:
    if name in {f"{_PREFIX}{layout.norm}.{kind}" for kind in ("weight", "bias")}:
        return f"head.norm.{name.rpartition('.')[2]}"
    path = name.removeprefix(f"{_PREFIX}{layout.layers}.")
    layer, *parts = path.split(".")
    if path == name or len(parts) < 3 or not (layer.isascii() and layer.isdecimal()):
        return None
    site = layout.site_of(".".join(parts[:-2]))
    side = {theirs: ours for ours, theirs in _SIDES.items()}.get(".".join(parts[-2:]))
    return f"layers.{layer}.{site}.parallel.lora.{side}" if site and side else None


def _refuse_variants(config: Mapping[str, Any], layout: Layout) -> None:
    variant = next((key for key in _VARIANTS if config.get(key)), None)
    if variant or config.get("bias", "none") != "none":
        raise MethodError(
            f"the LoRA has {variant or 'bias'} set in its adapter_config.json, which cl-ast does not have"
        )
    extra = sorted(set(map(str, _listed(config.get("modules_to_save")))) - {layout.norm})
    if extra:
        raise MethodError(
            f"the LoRA also saves the module {extra[0][:80]!r}, and cl-ast only takes the final LayerNorm: train it on "
            f"{layout.model} without that module, and put the head into task.safetensors (docs/registry.md)"
        )


def _method(config: Mapping[str, Any], sites: Mapping[str, int], layout: Layout) -> str:
    """Return the method as it is written: one `lora:…` for all sites of equal rank, scale and lowest layer."""
    if not sites:
        raise MethodError("the LoRA has no low-rank update at all")
    groups: dict[tuple[int, float, int], set[str]] = {}
    for site, first in sites.items():
        groups.setdefault((*size(config, layout.paths[site]), first), set()).add(site)
    parts = []
    for (rank, scale, first), members in sorted(groups.items()):
        sizes = f"r={rank},s={scale!r}" + (f",from={first}" if first else "")
        letters = "".join(letter for letter in "qkvo" if letter in members)
        dense = members - set("qkvo")
        if dense and dense != {"fc1", "fc2"}:
            raise MethodError("the LoRA updates only one of the FFN's two maps; cl-ast updates both (lora:ffn) or none")
        parts += [f"lora:{letters},{sizes}"] if letters else []
        parts += [f"lora:ffn,{sizes}"] if dense else []
    return "+".join(parts)


def size(config: Mapping[str, Any], path: str) -> tuple[int, float]:
    """Return the rank and the scale at one module; the key of a pattern is the module's path or the end of it."""
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
