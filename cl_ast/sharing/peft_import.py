"""Reads a LoRA or a DoRA that peft wrote: finds the rank and scale of each module; returns a method and its tensors.

A method has one rank and one scale for all layers from its lowest on, and in peft they may differ from layer to layer.
The tensors are then brought to one rank and one scale, which changes no sum: a lower rank is padded with zeros, a scale
is multiplied into B, and a layer without a LoRA gets one of zeros. A layer without a DoRA is refused, since its
magnitudes would be those of the backbone.
"""

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cl_ast.adapters.forms import Decomposed, LowRank
from cl_ast.adapters.spec import MethodSpec
from cl_ast.errors import MethodError
from cl_ast.sharing import peft_settings
from cl_ast.sharing.peft import DORA, PREFIX, SIDES, Layout, Naming, Place, is_lora
from cl_ast.sharing.peft_patterns import Patterns

_UNITS = (("q",), ("k",), ("v",), ("o",), ("fc1", "fc2"))  # the sites that an option of `lora` names together


@dataclass(frozen=True, slots=True)
class Foreign:
    """A LoRA as peft's two files have it, not yet checked against a backbone.

    Attributes:
        config: the contents of `adapter_config.json`.
        tensors: those of `adapter_model.safetensors`, by peft's names.
        layout: the names of modules in the stock model that it is for.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    layout: Layout

    def __post_init__(self) -> None:
        """Raise MethodError if a setting changes the sum in a way that cl-ast does not have."""
        peft_settings.check(self.config)

    @property
    def _sides(self) -> frozenset[str]:
        """The tensors of each linear map."""
        return frozenset(SIDES) if self.config.get(DORA) else frozenset(SIDES) - {"m"}

    def translated(self, depth: int) -> tuple[str, dict[str, Tensor]]:
        """Return the method as it is written, and the tensors by our names, with the final LayerNorm if it was saved.

        Args:
            depth: the number of the backbone's layers.

        Raises:
            MethodError: it has a site or module that cl-ast does not have, or its two files contradict each other.
        """
        norm = _norm(self.config, self.tensors, self.layout)
        naming, parts = _parts(self.tensors, self.layout)
        patterns = Patterns(self.config)
        naming = _naming_of(patterns, parts.keys(), [naming, self.layout.naming, *self.layout.older], depth)
        patterns.check_used(naming.modules(depth).values())
        updates: dict[Place, _Update] = {}
        for place in sorted(parts):  # safetensors keeps no order, and errors name the first
            module = naming.module(place)
            updates[place] = _update(parts[place], *_size(self.config, patterns, module), module, self._sides)
        method, tensors = _unified(updates, depth)
        return method, {**norm, **tensors}


def agree(stated: MethodSpec, own: MethodSpec) -> bool:
    """Return whether the method that a task states has the kind, sites, ranks and scales of its LoRA's own method."""
    found = {one.site: one for one in own.placements}
    if not is_lora(stated) or found.keys() != {one.site for one in stated.placements}:
        return False
    for one in stated.placements:
        form, other = one.form, found[one.site].form
        assert isinstance(form, LowRank | Decomposed) and isinstance(other, LowRank | Decomposed)
        same_size = form.rank == other.rank and math.isclose(form.scale, other.scale, rel_tol=1e-6)
        if type(form) is not type(other) or not same_size:
            return False
    return True


@dataclass(frozen=True, slots=True)
class _Update:
    """The low-rank update of one linear map: scale · B A, with A (rank, in) and B (out, rank).

    Attributes:
        magnitude: the magnitudes (out,) of a DoRA; None for a LoRA.
    """

    a: Tensor
    b: Tensor
    scale: float
    magnitude: Tensor | None = None

    @property
    def rank(self) -> int:
        return self.a.shape[0]

    def brought_to(self, rank: int, scale: float) -> "_Update":
        """Return the same update with another rank, which is not lower, and another scale."""
        more = rank - self.rank
        a, b = self.a, self.b
        if more:
            a = torch.cat([a, a.new_zeros(more, a.shape[1])])
            b = torch.cat([b, b.new_zeros(b.shape[0], more)], dim=1)
        if self.scale != scale:
            b = (b.double() * (self.scale / scale)).float()
        return _Update(a, b, scale, self.magnitude)

    def named(self, layer: int, site: str) -> dict[str, Tensor]:
        """Return the tensors by our names, for a linear map of a layer."""
        own = {"a": self.a, "b": self.b} | ({} if self.magnitude is None else {"m": self.magnitude})
        return {f"layers.{layer}.{site}.parallel.{self.method}.{side}": tensor for side, tensor in own.items()}

    @property
    def method(self) -> str:
        """The name of the method."""
        return "lora" if self.magnitude is None else "dora"

    def zeros(self, layer: int, site: str) -> "_Update":
        """Return an update of the same shape that changes nothing. Raises MethodError for a DoRA."""
        if self.magnitude is not None:
            raise MethodError(
                f"the LoRA is a DoRA (use_dora) and has none at {site} of layer {layer}; cl-ast takes a DoRA that is "
                "at every layer from its lowest on"
            )
        return _Update(torch.zeros_like(self.a), torch.zeros_like(self.b), self.scale)


def _norm(config: Mapping[str, Any], tensors: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """Return the final LayerNorm that was saved with the LoRA, if one was."""
    saved = config.get("modules_to_save") or []
    words = [str(word) for word in saved] if isinstance(saved, list) else [str(saved)]
    extra = sorted(set(words) - {layout.norm})
    if extra:
        raise MethodError(
            f"the LoRA also saves the module {extra[0][:80]!r} (modules_to_save), and cl-ast only takes the final "
            f"LayerNorm: train it on {layout.model} without that module, and put the head into task.safetensors "
            "(docs/registry.md)"
        )
    names = {f"{PREFIX}{layout.norm}.{kind}": f"head.norm.{kind}" for kind in ("weight", "bias")}
    found = {ours: _single(name, tensors[name]) for name, ours in names.items() if name in tensors}
    if len(found) != (len(names) if words else 0):
        raise MethodError(
            f"the LoRA's modules_to_save and its tensors disagree on {layout.norm}: one of its two files is of another "
            "task; save it again"
        )
    return found


def _parts(tensors: Mapping[str, Tensor], layout: Layout) -> tuple[Naming, dict[Place, dict[str, Tensor]]]:
    """Return the tensors of each linear map by the names of `SIDES`, and the naming that they have."""
    parts: dict[Place, dict[str, Tensor]] = {}
    used: list[Naming] = []
    for name, tensor in tensors.items():
        if name.startswith(f"{PREFIX}{layout.norm}."):
            continue
        found = _located(name, layout)
        if found is None:
            raise MethodError(f"the LoRA has {name[:100]!r}, which is no q, k, v, o or FFN map of {layout.model}")
        naming, place, side = found
        used += [] if naming in used else [naming]
        parts.setdefault(place, {})[side] = _single(name, tensor)
    if not used:
        raise MethodError("the LoRA has no low-rank update at all")
    if len(used) > 1:
        raise MethodError("the LoRA mixes module names of two releases of transformers; save it again with one of them")
    return used[0], parts


def _located(name: str, layout: Layout) -> tuple[Naming, Place, str] | None:
    """Return the naming, the linear map and the side of a tensor; None if it is none of a LoRA that cl-ast has."""
    side = next((side for side, ending in SIDES.items() if name.endswith(f".{ending}")), None)
    if side is None or not name.startswith(PREFIX):
        return None
    module = name.removeprefix(PREFIX).removesuffix(f".{SIDES[side]}")
    for naming in (layout.naming, *layout.older):
        place = naming.place(module)
        if place:
            return naming, place, side
    return None


def _single(name: str, tensor: Tensor) -> Tensor:
    """Return a tensor in single precision, in which peft computes; half precision and bf16 lose nothing by it."""
    if not tensor.is_floating_point():
        raise MethodError(f"the LoRA has {name[:100]!r} in {str(tensor.dtype).removeprefix('torch.')}, not in floats")
    return tensor.float()


def _naming_of(patterns: Patterns, places: Set[Place], namings: list[Naming], depth: int) -> Naming:
    """Return the naming with which the configuration targets exactly the linear maps that have tensors.

    It is the naming of the tensors, the first of `namings`, unless only the names of tensors were converted.
    """
    for naming in namings:
        if {place for place, name in naming.modules(depth).items() if patterns.targets(name)} == places:
            return naming
    naming = namings[0]
    modules = naming.modules(depth)
    for place in sorted(places):
        if place not in modules or not patterns.targets(modules[place]):
            raise MethodError(
                f"the LoRA holds a tensor it should not have: its target_modules do not name {naming.module(place)}, "
                "or the backbone does not have it; one of its two files is of another task"
            )
    lacking = next(name for place, name in modules.items() if place not in places and patterns.targets(name))
    raise MethodError(f"the LoRA lacks the tensors of {lacking}, which its target_modules name; save it again")


def _size(config: Mapping[str, Any], patterns: Patterns, module: str) -> tuple[int, float]:
    """Return the rank and the scale at one module."""
    rank = patterns.rank(module, config.get("r"))
    alpha = patterns.alpha(module, config.get("lora_alpha"))
    if type(rank) is not int or rank < 1 or isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise MethodError(f"the LoRA's adapter_config.json does not say its r and lora_alpha at {module}")
    try:
        scale = float(alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))
    except OverflowError:
        scale = math.inf
    if not math.isfinite(scale):
        raise MethodError("the LoRA's lora_alpha is not a number that can be used")
    return rank, scale


def _update(parts: Mapping[str, Tensor], rank: int, scale: float, module: str, sides: frozenset[str]) -> _Update:
    if set(parts) != sides or any(one.dim() != (1 if side == "m" else 2) for side, one in parts.items()):
        raise MethodError(f"the LoRA lacks one of the tensors of {module}, or has one too many; save it again")
    if not parts["a"].shape[0] == parts["b"].shape[1] == rank:
        raise MethodError(
            f"the LoRA's adapter_config.json says rank {rank} at {module}, and its tensors have rank "
            f"{parts['a'].shape[0]}: one of the two files is of another task; save it again"
        )
    return _Update(parts["a"], parts["b"], scale, parts.get("m"))


def _unified(updates: Mapping[Place, _Update], depth: int) -> tuple[str, dict[str, Tensor]]:
    """Return one `lora:…` or `dora:…` for sites of equal rank, scale and lowest layer, and the tensors by our names."""
    tensors: dict[str, Tensor] = {}
    groups: dict[tuple[int, float, int], list[str]] = {}
    for sites in _UNITS:
        unit = {place: update for place, update in updates.items() if place[1] in sites}
        if not unit:
            continue
        if {site for _, site in unit} != set(sites):
            raise MethodError("the LoRA updates only one of the FFN's two maps; cl-ast updates both (lora:ffn) or none")
        first = min(layer for layer, _ in unit)
        rank, scale = max(update.rank for update in unit.values()), _common_scale(list(unit.values()))
        for site in sites:
            there = {layer: one.brought_to(rank, scale) for (layer, at), one in unit.items() if at == site}
            any_layer = next(iter(there.values()))
            for layer in range(first, depth):
                update = there[layer] if layer in there else any_layer.zeros(layer, site)
                tensors |= update.named(layer, site)
        groups.setdefault((rank, scale, first), []).append("ffn" if len(sites) > 1 else sites[0])
    method = next(iter(updates.values())).method
    return "+".join(_written(method, *size, names) for size, names in sorted(groups.items())), tensors


def _common_scale(updates: list[_Update]) -> float:
    """Return the scale that all updates have, or the largest one; a method has no negative scale."""
    return max(abs(update.scale) for update in updates)


def _written(method: str, rank: int, scale: float, first: int, sites: list[str]) -> str:
    sizes = f"r={rank},s={scale!r}" + (f",from={first}" if first else "")
    letters = "".join(site for site in sites if site != "ffn")
    parts = [f"{method}:{letters},{sizes}"] if letters else []
    return "+".join([*parts, *([f"{method}:ffn,{sizes}"] if "ffn" in sites else [])])
