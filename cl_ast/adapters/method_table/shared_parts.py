"""Methods that read a shared part: tensors that several tasks share, which `cl-ast share` trains and freezes."""

from typing import Literal

from cl_ast.adapters.forms import HalfShared, HyperNetwork, SkillMixture
from cl_ast.adapters.method import Method
from cl_ast.adapters.method_table.shared_options import RANK, width
from cl_ast.adapters.options import Choice, Number, Values
from cl_ast.adapters.placement import Placement

_SKILLS = Number("s", 8, 1, 256, "the number of skills")
_RANK = Number("r", 6, *RANK, "the rank")


def _skills(values: Values) -> tuple[Placement, ...]:
    form = SkillMixture(int(values["r"]), int(values["s"]), int(values.get("h", 1)))
    return tuple(Placement(site, form) for site in "qv")


def _as_lora(values: Values) -> str:
    return f"lora:qv,r={values['r']},s={1 / int(values['r'])!r}"


def _half(values: Values) -> tuple[Placement, ...]:
    half: Literal["down", "up"] = "up" if values["share"] == "share=up" else "down"
    return (Placement(str(values["block"]), HalfShared(int(values["r"]), half)),)


def _hyper(values: Values) -> tuple[Placement, ...]:
    form = HyperNetwork(int(values["r"]), int(values["k"]))
    return tuple(Placement(site, form) for site in "qv")


ROWS = (
    Method(
        "poly",
        "a low-rank update of q and v whose factors are means of s shared skills; a task learns how much of each skill",
        "h ← h + x A B / r, A = Σₛ Ẑₛ Aₛ, B = Σₛ Ẑₛ Bₛ, Ẑ = σ(Z) / Σₛ σ(Zₛ)",
        "Ponti et al., Combining parameter-efficient modules for task-level generalisation (2023)",
        (_SKILLS, _RANK),
        _skills,
        acts_as=_as_lora,
    ),
    Method(
        "mhr",
        "poly with another mean in each of h parts of the inputs and of the outputs (multi-head routing)",
        "as poly, with Ẑ and the skills' factors in h parts: Aʰ = Σₛ Ẑʰₛ Aʰₛ, Bʰ = Σₛ Ẑʰₛ Bʰₛ",
        "Caccia et al., Multi-head adapter routing for cross-task generalization (2023), section 3",
        (_SKILLS, Number("h", 8, 1, 256, "the number of heads"), _RANK),
        _skills,
        acts_as=_as_lora,
    ),
    Method(
        "halfshared",
        "a bottleneck parallel to a block, one projection of which is shared and the other one a task's own",
        "Δh = GELU(x W_down + b) W_up + b, W_down (or W_up) and its b shared",
        "Sung et al., VL-Adapter (2022), section 3.3, half-shared adapters",
        (
            Choice("block", ("mhsa", "ffn"), "mhsa"),
            Choice("share", ("share=down", "share=up"), "share=down"),
            width(12),
        ),
        _half,
        acts_as=lambda values: f"bottleneck:{values['block']},nonorm,r={values['r']}",
    ),
    Method(
        "hyper",
        "a low-rank update of q and v that a shared network makes from 64 numbers, which a task learns",
        "h ← h + x A B, (A, B) = W₂ ReLU(W₁ [e_task; e_place] + b)",
        "Karimi Mahabadi et al., Hyperformer (2021), eq. 4 and 5, with LoRA in place of its bottleneck",
        (_RANK, Number("k", 64, 1, 4096, "the width of the network's hidden layer")),
        _hyper,
        acts_as=lambda values: f"lora:qv,r={values['r']},s=1",
    ),
)
