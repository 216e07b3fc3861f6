"""Methods at attention: trained tokens before a layer, trained keys and values, and adapters of single heads."""

from cl_ast.adapters.forms import GatedPrefix, HeadBottleneck, MadePrefix, Prefix, Prompt, ScaledBottleneck
from cl_ast.adapters.method import Method
from cl_ast.adapters.method_table.shared_options import CONFORMER, PETL, UNIFIED, width
from cl_ast.adapters.options import Choice, Number, Values
from cl_ast.adapters.placement import Placement
from cl_ast.errors import MethodError

_PAPER_PROMPTS = {"deep": 25, "shallow": 300}
_PREFIX = Number("n", 24, 2, 4096, "the number of keys and values in all")


def _settle_prompt(values: Values) -> Values:
    return {**values, "n": values["n"] or _PAPER_PROMPTS[str(values["depth"])]}


def _prompt(values: Values) -> tuple[Placement, ...]:
    count = int(values["n"])
    first = Placement("layer", Prompt(count), "input", "first")
    if values["depth"] == "shallow":
        return (first,)
    return (first, Placement("layer", Prompt(count, instead=True), "input", "rest"))


def _settle_prefix(values: Values) -> Values:
    if int(values["n"]) % 2:
        raise MethodError(f"n={values['n']}: half are keys and half are values; give an even number")
    return values


def _settle_made(values: Values) -> Values:
    return {**_settle_prefix(values), "mlp": values["mlp"] or ""}  # 0, no MLP, is the default


def _made(values: Values) -> tuple[Placement, ...]:
    count, hidden = int(values["n"]), int(values["mlp"] or 0)
    return (Placement("heads", MadePrefix(count, hidden) if hidden else Prefix(count), "attend"),)


def _mam(values: Values) -> tuple[Placement, ...]:
    adapter = ScaledBottleneck(int(values["r"]), float(values["s"]))
    return (Placement("heads", Prefix(int(values["n"])), "attend"), Placement("ffn", adapter))


ROWS = (
    Method(
        "prompt",
        "trained tokens before the input of every layer (deep) or of the first (shallow)",
        "X ← [P; X]",
        f"{PETL}, table I; {CONFORMER}, section 2.2; Jia et al. (2022)",
        (
            Choice("depth", ("deep", "shallow"), "deep"),
            Number("n", 0, 1, 4096, "the number of prompts"),  # 0 stands for `_PAPER_PROMPTS`
        ),
        _prompt,
        learning_rate=1e-2,
        settle=_settle_prompt,
    ),
    Method(
        "prefix",
        "trained keys and values in every attention, n in all",
        "head = Attn(q, [P_k; K], [P_v; V]); mlp: P = tanh(E W_down + b) W_up + b in training, of which P is stored",
        f"{PETL}, table I; Li and Liang (2021), section 4.3",
        (_PREFIX, Number("mlp", 0, 0, 8192, "the width of an MLP that makes the prefix in training; 0 for none")),
        _made,
        learning_rate=1e-2,
        settle=_settle_made,
    ),
    Method(
        "prefix-adapter",
        "the prefix as an adapter of each head, gated or simply added",
        "h ← (1 − λ) h + λ softmax(q P_kᵀ) P_v, λ the attention on P_k; added: h + softmax(q P_kᵀ) P_v",
        f"{UNIFIED}, eq. 7 to 9, table 4",
        (Choice("gate", ("gated", "added"), "gated"), _PREFIX),
        lambda v: (Placement("heads", GatedPrefix(int(v["n"]), v["gate"] == "gated"), "attend"),),
        learning_rate=1e-2,
        settle=_settle_prefix,
    ),
    Method(
        "multihead",
        "a small bottleneck in each attention head",
        "h ← h + ReLU(q W_down) W_up, for each head",
        f"{UNIFIED}, section 3.3, table 4",
        (width(12),),
        lambda v: (Placement("heads", HeadBottleneck(int(v["r"])), "attend"),),
    ),
    Method(
        "mam",
        "mix and match: a small prefix, and a scaled parallel adapter at the FFN",
        "prefix:n at attention, h ← h + s · (ReLU(x W_down + b) W_up + b) at the FFN",
        f"{UNIFIED}, section 4.6, tables 2 and 6",
        (
            Number("n", 32, 2, 4096, "the number of keys and values in all"),
            width(16),
            Number("s", 4.0, 0.0, 1e4, "the scale"),
        ),
        _mam,
        settle=_settle_prefix,
    ),
)
