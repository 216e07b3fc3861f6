"""Methods that update the backbone's own weights and biases; each can be folded into them after training."""

from cl_ast.adapters.forms import (
    AdaptiveRank,
    BlockAffine,
    Decomposed,
    LargestChanges,
    LowRank,
    PartialConnections,
    ScaleShift,
    Shift,
    SingularVectors,
    SparseChange,
)
from cl_ast.adapters.forms.sparse import MAPS as SPARSE_MAPS
from cl_ast.adapters.method import Method
from cl_ast.adapters.method_table.shared_options import MAPS, PETL, RANK, at_maps
from cl_ast.adapters.options import Choice, Number, Values
from cl_ast.adapters.placement import Placement
from cl_ast.backbone.sites import EMBEDDING, LEAVES
from cl_ast.errors import MethodError


def _ssf(values: Values) -> tuple[Placement, ...]:
    layers = tuple(Placement(site, ScaleShift(), "output") for site in LEAVES)
    patches = Placement(EMBEDDING, ScaleShift(), "output", "bottom")
    return (patches, *layers) if values["where"] == "whole" else layers


def _adaptive(values: Values) -> Values:
    if int(values["b"]) > int(values["r"]):
        raise MethodError(
            f"adalora: b={values['b']} is the rank in the end, and more than r={values['r']} at the start"
        )
    return values


ROWS = (
    Method(
        "bitfit",
        "the bias of every Linear and LayerNorm",
        "h ← h + β",
        f"Ben Zaken et al., BitFit (2022); {PETL}, table I",
        place=lambda _: tuple(Placement(site, Shift()) for site in LEAVES),
        # The backbone's last LayerNorm is part of the head here.
        counted_in_head=lambda _: ("head.norm.bias",),
        # One number added to every key changes no attention.
        without_gradient=("k.parallel.shift.bias",),
    ),
    Method(
        "ssf",
        "a scale and a shift of the output of every Linear and LayerNorm, and of the patches; layers: without these",
        "h ← γ ∘ h + β",
        "Lian et al., Scaling and shifting your features (2022), eq. 3",
        (Choice("where", ("whole", "layers")),),
        _ssf,
        settle=lambda values: {**values, "where": values["where"] or "whole"},
        formerly=lambda values: {**values, "where": values["where"] or "layers"},
        # A scale and a shift after the last LayerNorm are what the head's own LayerNorm learns.
        counted_in_head=lambda v: ("head.norm.weight", "head.norm.bias") if v["where"] == "whole" else (),
        without_gradient=("k.output.ssf.shift",),  # as for bitfit
    ),
    Method(
        "lora",
        "a low-rank update of linear maps, scaled by s",
        "h ← h + s · x A B",
        f"{PETL}, eq. 5, table IV; Hu et al. (2022)",
        (MAPS, Number("r", 6, *RANK, "the rank"), Number("s", 8.0, 0.0, 1e4, "the scale")),
        at_maps(lambda v: LowRank(int(v["r"]), float(v["s"]))),
    ),
    Method(
        "dora",
        "a low-rank update of the directions of linear maps, scaled by s, and a trained magnitude for each output",
        "W ← m ∘ V / ‖V‖, V = W + s · B A; m starts at ‖W‖, the length of each row",
        "Liu et al., DoRA: weight-decomposed low-rank adaptation (2024), eq. 5",
        (MAPS, Number("r", 6, *RANK, "the rank"), Number("s", 8.0, 0.0, 1e4, "the scale")),
        at_maps(lambda v: Decomposed(int(v["r"]), float(v["s"]))),
    ),
    Method(
        "adalora",
        "a low-rank update of linear maps in triplets; of r a map at the start, the b a map that matter most stay",
        "h ← h + s · x (P Λ Q)ᵀ; loss + g · mean of ‖PᵀP − I‖ and ‖QQᵀ − I‖ over all maps; Λᵢ ← 0 where least matters",
        "Zhang et al., AdaLoRA: adaptive budget allocation (2023), eq. 3, 4 and 7 to 11",
        (
            MAPS,
            Number("r", 9, *RANK, "the rank at the start"),
            Number("b", 6, *RANK, "the mean rank in the end"),
            Number("s", 8.0, 0.0, 1e4, "the scale"),
            Number("g", 0.5, 0.0, 1e2, "the weight of the regulariser"),
        ),
        at_maps(lambda v: AdaptiveRank(int(v["r"]), int(v["b"]), float(v["s"]), float(v["g"]))),
        settle=_adaptive,
    ),
    Method(
        "paca",
        "r randomly chosen columns of linear maps",
        "h ← h + x_C D, C drawn once",
        "Woo et al., PaCA: partial connection adaptation (2025)",
        (MAPS, Number("r", 12, *RANK, "the number of columns")),
        at_maps(lambda v: PartialConnections(int(v["r"]))),
    ),
    Method(
        "bone",
        "an update of linear maps in blocks, each multiplied by the backbone's own block",
        "W ← W + ΔW, ΔWᵢⱼ = Wᵢⱼ Bᵢ + Bᵢ",
        "Kang, Bone: block affine transformation (2024)",
        (MAPS, Number("r", 8, *RANK, "the size of a block")),
        at_maps(lambda v: BlockAffine(int(v["r"]))),
    ),
    Method(
        "sorsa",
        "the r largest singular values of linear maps with their vectors, which stay nearly orthonormal",
        "W ← W + U S Vᵀ − U₀ S₀ V₀ᵀ; loss + g · mean of ‖UᵀU − I‖ and ‖VᵀV − I‖ over all maps",
        "Cao, SORSA: singular values and orthonormal regularised singular vectors (2024)",
        (
            MAPS,
            Number("r", 6, *RANK, "the number of singular values"),
            # The public code's γ of 4e-4, which it divides by the initial learning rate: here 5e-3.
            Number("g", 0.08, 0.0, 1e2, "the weight of the regulariser"),
        ),
        at_maps(lambda v: SingularVectors(int(v["r"]), float(v["g"]))),
    ),
    Method(
        "ltsft",
        "the k weights and biases of all linear maps that change most: all are trained, then these k from their start",
        "θ ← θ + M ∘ φ, M = 1 where |θ₁ − θ₀| is among the k largest, θ₁ trained without M",
        "Ansell et al., Composable sparse fine-tuning (2022), section 3",
        (Number("k", 250_000, 1, 2**30, "the number of weights"),),
        lambda v: tuple(Placement(site, LargestChanges(SparseChange(int(v["k"])))) for site in SPARSE_MAPS),
        learning_rate=5e-5,
        # One number added to every key changes no attention.
        without_gradient=("k.parallel.ltsft.bias",),
    ),
)
