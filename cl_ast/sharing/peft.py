"""Knows the layout of the `peft` library's files, and writes a LoRA or DoRA in it: tensors' names and configuration.

`peft` is not imported, since its format is only names and a JSON file. The adapter is for the stock model of the
backbone's family in transformers. The final LayerNorm of the task's head, if there is one, is stored as one of peft's
`modules_to_save`, so that the model that peft loads ends with the tokens that the head takes. The rest of the head is
in a file of its own. `peft_import` reads such files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from cl_ast.adapters.forms import Decomposed, LowRank
from cl_ast.adapters.spec import MethodSpec
from cl_ast.backbone.families import FAMILIES, Ast, Family, SpeechEncoder, Wav2Vec2
from cl_ast.backbone.sites import Paths

TYPE = "LORA"
PREFIX = "base_model.model."
SIDES: Mapping[str, str] = {"a": "lora_A.weight", "b": "lora_B.weight", "m": "lora_magnitude_vector"}
DORA = "use_dora"  # the setting that makes a LoRA a DoRA
LINEAR = ("q", "k", "v", "o", "fc1", "fc2")
Place = tuple[int, str]
"""A linear map of the backbone: its layer, and its site (`LINEAR`)."""


@dataclass(frozen=True, slots=True)
class Naming:
    """How one generation of transformers names the linear maps of a stock model.

    Attributes:
        layers: the path of its layers.
        paths: the paths of the sites inside a layer.
    """

    layers: str
    paths: Paths

    def module(self, place: Place) -> str:
        """Return the full name of a linear map, such as "layers.0.attention.q_proj"."""
        layer, site = place
        return f"{self.layers}.{layer}.{self.paths[site]}"

    def place(self, module: str) -> Place | None:
        """Return the linear map that has this full name; None if there is none."""
        layer, _, path = module.removeprefix(f"{self.layers}.").partition(".")
        if not module.startswith(f"{self.layers}.") or not (layer.isascii() and layer.isdecimal() and len(layer) < 4):
            return None
        site = next((site for site in LINEAR if self.paths[site] == path), None)
        return (int(layer), site) if site and layer == str(int(layer)) else None

    def modules(self, depth: int) -> dict[Place, str]:
        """Return the full names of all linear maps of a model with this many layers."""
        places = [(layer, site) for layer in range(depth) for site in LINEAR]
        return {place: self.module(place) for place in places}


@dataclass(frozen=True, slots=True)
class Layout:
    """The names of modules in a stock model.

    Attributes:
        model, library: the class, and the module of transformers that has it.
        norm: the path of its final LayerNorm.
        naming: how the transformers of today names its linear maps; exports use these names.
        older: how earlier releases named them, which adapters that were trained with them still do.
        reached: the sites whose linear maps the stock model calls, so that an adapter of peft there acts.
    """

    model: str
    library: str
    norm: str
    naming: Naming
    older: tuple[Naming, ...] = ()
    reached: tuple[str, ...] = LINEAR


_TRANSFORMERS_4 = Naming(
    "encoder.layer",
    {
        "q": "attention.attention.query",
        "k": "attention.attention.key",
        "v": "attention.attention.value",
        "o": "attention.output.dense",
        "fc1": "intermediate.dense",
        "fc2": "output.dense",
    },
)
_SPECTROGRAM = Layout(
    "ASTModel",
    "transformers.models.audio_spectrogram_transformer.modeling_audio_spectrogram_transformer",
    "layernorm",
    Naming("layers", Ast.sites),
    (_TRANSFORMERS_4,),
)


def family_in(facts: Mapping[str, Any]) -> Family:
    """Return the family of backbones that a task is for.

    Descriptions of earlier releases, and handwritten ones, do not name it: samples are then for Wav2Vec 2.0.
    """
    kind, front_end = facts.get("family"), facts.get("front_end")
    if isinstance(kind, str) and kind in FAMILIES:
        return FAMILIES[kind]
    takes = front_end.get("kind") if isinstance(front_end, Mapping) else None
    return Wav2Vec2() if takes == "waveform" else Ast()


def layout_of(family: Family) -> Layout:
    """Return the layout of the stock model of a family."""
    if not isinstance(family, SpeechEncoder):
        return _SPECTROGRAM
    name = family.kind.replace("-", "_")
    return Layout(
        family.stock,
        f"transformers.models.{name.removesuffix('_audio')}.modeling_{name}",
        "encoder.layer_norm",
        Naming("encoder.layers", family.sites),
        reached=("fc1", "fc2") if family.reads_attention_weights else LINEAR,
    )


def is_lora(spec: MethodSpec) -> bool:
    """Return whether a method is a LoRA at all its sites, or a DoRA at all of them."""
    return {type(placement.form) for placement in spec.placements} in ({LowRank}, {Decomposed})


def fits(spec: MethodSpec, layout: Layout) -> bool:
    """Return whether peft can run this method on the stock model."""
    return is_lora(spec) and all(placement.site in layout.reached for placement in spec.placements)


def config(spec: MethodSpec, layout: Layout, backbone: str | None, layers: int, *, norm: bool) -> dict[str, Any]:
    """Return the contents of `adapter_config.json` for a LoRA.

    Args:
        backbone: the backbone's name on the hub, if it has one.
        layers: the number of the backbone's layers.
        norm: whether a final LayerNorm is stored with the LoRA.
    """
    forms = {layout.naming.paths[placement.site]: placement.form for placement in spec.placements}
    sizes = {
        path: (form.rank, form.scale * form.rank)
        for path, form in forms.items()
        if isinstance(form, LowRank | Decomposed)
    }
    rank, alpha = next(iter(sizes.values()))
    modules: list[str] = []
    for placement in spec.placements:
        first = placement.first
        named = [layout.naming.module((layer, placement.site)) for layer in range(first, layers)]
        modules += named if first else [layout.naming.paths[placement.site]]
    return {
        "peft_type": TYPE,
        "base_model_name_or_path": backbone,
        "auto_mapping": {
            "base_model_class": layout.model,
            "parent_library": layout.library,
        },
        "task_type": None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {path: r for path, (r, _) in sizes.items() if r != rank},
        "alpha_pattern": {path: a for path, (_, a) in sizes.items() if a != alpha},
        "lora_dropout": 0.0,
        DORA: any(isinstance(form, Decomposed) for form in forms.values()),
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
            module = layout.naming.module((int(parts[1]), parts[2]))
            theirs[f"{PREFIX}{module}.{SIDES[parts[-1]]}"] = tensor
        elif name.startswith("head.norm."):
            theirs[f"{PREFIX}{layout.norm}.{parts[-1]}"] = tensor
        else:
            ours[name] = tensor
    return theirs, ours
