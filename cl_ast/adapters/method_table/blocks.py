"""Adapters at a block: bottlenecks of every kind, parallel to MHSA or FFN, before it or after it."""

from cl_ast.adapters.forms import (
    Bottleneck,
    CentredOneBit,
    Compacter,
    Conformer,
    Convpass,
    DenseMixture,
    OneBit,
    ScaledBottleneck,
    SoftMixture,
    SparseMixture,
)
from cl_ast.adapters.method import Method
from cl_ast.adapters.method_table.shared_options import (
    BLOCKS,
    CONFORMER,
    NORM,
    PETL,
    UNIFIED,
    formerly_blocks,
    in_blocks,
    settle_blocks,
    width,
    with_norm,
)
from cl_ast.adapters.options import Choice, Number, Values
from cl_ast.adapters.placement import Placement

_FFN = Choice("block", ("mhsa", "ffn"), "ffn")
_EXPERTS = (1, 64)


def _kernel(default: int) -> Number:
    return Number("k", default, 1, 255, "the kernel, in tokens")


def _hydra(values: Values) -> tuple[Placement, ...]:
    block, form = str(values["block"]), Bottleneck(int(values["r"]))
    return with_norm(values, block, Placement(block, form, "parallel"), Placement(block, form, "after"))


def _scaled(values: Values) -> tuple[Placement, ...]:
    form = ScaledBottleneck(int(values["r"]), float(values["s"]), values["how"] == "learned")
    return (Placement(str(values["block"]), form),)


def _one_bit(values: Values) -> tuple[Placement, ...]:
    form = OneBit if values["levels"] == "magnitude" else CentredOneBit
    return (Placement(str(values["block"]), form(int(values["r"]), float(values["s"]))),)


ROWS = (
    Method(
        "bottleneck",
        "a bottleneck at a block: down to width r, GELU, and up again",
        "Δh = GELU(x W_down + b) W_up + b",
        f"{PETL}, eq. 6 and 7, tables I, III, V and VII; Houlsby et al. (2019)",
        (*BLOCKS, width(12)),
        in_blocks(lambda v: Bottleneck(int(v["r"]))),
        settle=settle_blocks,
        formerly=formerly_blocks,
    ),
    Method(
        "convpass",
        "a bottleneck that convolves over the tokens, at a block",
        "Δh = GELU(conv_k(GELU(x W_down + b))) W_up + b",
        f"{PETL}, section II-B, table I; Jie and Deng (2022)",
        (*BLOCKS, width(12), _kernel(3)),
        in_blocks(lambda v: Convpass(int(v["r"]), int(v["k"]))),
        settle=settle_blocks,
        formerly=formerly_blocks,
    ),
    Method(
        "conformer",
        "the Conformer's convolution module in a bottleneck, at a block",
        "Δh = Swish(BN(dwconv_k(GLU(LN(x) W_down + b)))) W_up + b",
        f"{CONFORMER}, section 2.2, tables 1 and 2",
        (*BLOCKS, width(8), _kernel(31)),
        in_blocks(lambda v: Conformer(int(v["r"]), int(v["k"]))),
        settle=settle_blocks,
        formerly=formerly_blocks,
    ),
    Method(
        "hydra",
        "one bottleneck parallel to a block and one after it",
        "h ← h + f_p(x) + f_s(h), f(x) = GELU(x W_down + b) W_up + b",
        f"Kim et al. (2023); {PETL}, table V",
        (_FFN, NORM, width(12)),
        _hydra,
    ),
    Method(
        "parallel",
        "the parallel adapter: a bottleneck with ReLU, parallel to a block",
        "h ← h + ReLU(x W_down + b) W_up + b",
        f"{UNIFIED}, table 1",
        (_FFN, width(12)),
        lambda v: (Placement(str(v["block"]), ScaledBottleneck(int(v["r"]))),),
    ),
    Method(
        "sequential",
        "the sequential adapter: a bottleneck with ReLU after a block, whose LayerNorm is not trained",
        "h ← h + ReLU(h W_down + b) W_up + b",
        f"{UNIFIED}, table 1; Houlsby et al. (2019)",
        (_FFN, width(12)),
        lambda v: (Placement(str(v["block"]), ScaledBottleneck(int(v["r"])), "after"),),
    ),
    Method(
        "scaled",
        "the scaled parallel adapter, with a fixed or a learned scale",
        "h ← h + s · (ReLU(x W_down + b) W_up + b)",
        f"{UNIFIED}, tables 1 and 5",
        (_FFN, Choice("how", ("fixed", "learned"), "fixed"), width(12), Number("s", 4.0, 0.0, 1e4, "the scale")),
        _scaled,
    ),
    Method(
        "compacter",
        "a bottleneck whose weights are sums of Kronecker products; all layers share the slow factors",
        "Δh = GELU(x W_down + b) W_up + b, W = Σᵢ Aᵢ ⊗ (sᵢ tᵢᵀ)",
        "Karimi Mahabadi et al., Compacter (2021), eq. 4 and 5",
        (*BLOCKS, width(24), Number("n", 4, 1, 64, "the number of Kronecker products")),
        in_blocks(lambda v: Compacter(int(v["r"]), int(v["n"]))),
        settle=settle_blocks,
        formerly=formerly_blocks,
    ),
    Method(
        "mosa",
        "a bottleneck split into n sparse parts, of which each step trains one; afterwards they act as one bottleneck",
        "Δh = GELU(x W_down + b) W_up + b; in training n Mᵢ ∘ W for each W that is not shared, i at random, Σᵢ Mᵢ = 1",
        "Zhang et al., Split & Merge: mixture of sparse adapters (2023)",
        (
            *BLOCKS,
            width(12),
            Number("n", 4, *_EXPERTS, "the number of sparse parts"),
            Choice("share", ("share=down", "share=up", "share=none"), "share=down"),
        ),
        in_blocks(lambda v: SparseMixture(int(v["r"]), int(v["n"]), str(v["share"]).removeprefix("share="))),
        settle=settle_blocks,
        formerly=formerly_blocks,
    ),
    Method(
        "moa",
        "a dense mixture of n bottlenecks, with weights of its own for each token",
        "Δh = Σₑ softmax(x W_g + b)ₑ fₑ(x)",
        "Cappellazzo et al., soft mixture of adapters for AST (2024), dense MoA",
        (*BLOCKS, width(3), Number("n", 4, *_EXPERTS, "the number of adapters")),
        in_blocks(lambda v: DenseMixture(int(v["r"]), int(v["n"]))),
        settle=settle_blocks,
        formerly=formerly_blocks,
    ),
    Method(
        "softmoa",
        "a soft mixture of n bottlenecks, each applied to p weighted means of all tokens",
        "Δh = C f(Dᵀ x), D and C the softmax of x Φ over tokens and over slots",
        "Cappellazzo et al., soft mixture of adapters for AST (2024); Puigcerver et al. (2024), eq. 1 to 3",
        (
            *BLOCKS,
            width(3),
            Number("n", 4, *_EXPERTS, "the number of adapters"),
            Number("p", 1, 1, 256, "the number of slots of each adapter"),
        ),
        in_blocks(lambda v: SoftMixture(int(v["r"]), int(v["n"]), int(v["p"]))),
        settle=settle_blocks,
        formerly=formerly_blocks,
    ),
    Method(
        "onebit",
        "a bottleneck of 1-bit weights, quantised during training and stored eight to a byte",
        "Δh = s · ReLU(x Q(W_down)) Q(W_up), Q(W) = mean(W) + 0.674 std(W) sign(W − mean(W)); "
        "magnitude: Δh = s · GELU(x Q(W_down)) Q(W_up), Q(W) = mean|W| · sign(W)",
        "Jie et al., Parameter efficiency of adapters from precision redundancy (2023)",
        (_FFN, Choice("levels", ("centred", "magnitude")), width(32), Number("s", 1.0, 0.0, 1e4, "the scale")),
        _one_bit,
        settle=lambda values: {**values, "levels": values["levels"] or "centred"},
        formerly=lambda values: {**values, "levels": values["levels"] or "magnitude"},
    ),
)
