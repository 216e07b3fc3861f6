"""Options and placements that several methods share."""

from collections.abc import Callable

from cl_ast.adapters.forms import Base, Form, Identity, Norm, WithResidual
from cl_ast.adapters.options import Choice, Letters, Number, Values
from cl_ast.adapters.placement import Insertion, Placement
from cl_ast.errors import MethodError

PETL = "Cappellazzo et al., PETL of AST (2023)"
CONFORMER = "Cappellazzo et al., PETL of AST with conformer adapters (2024)"
UNIFIED = "He et al., Towards a unified view (2022)"

RANK = (1, 4096)
NORM = Choice("norm", ("nonorm",))
BLOCKS = (
    Choice("configuration", ("pfeiffer", "houlsby"), "pfeiffer"),
    Choice("block", ("mhsa", "ffn")),
    Choice("insertion", ("parallel", "sequential", "mixed"), "parallel"),
    Choice("order", ("before", "after")),
    Choice("residual", ("residual", "noresidual", "skip")),
    NORM,
)
MAPS = Letters("sites", "qkvo", ("ffn",), "qv")


def width(default: int) -> Number:
    """Return the option `r`, the width of a bottleneck."""
    return Number("r", default, *RANK, "the width of the bottleneck")


def settle_blocks(values: Values) -> Values:
    """Return the options in their canonical form.

    Pfeiffer adapts one block, MHSA by default; Houlsby adapts both. An order or a residual that follows from the
    insertion is left empty, so that the same method is always written in the same way; a residual of `sequential,
    before` is always written, since texts of earlier releases without one mean another form (`formerly_blocks`).

    Raises:
        MethodError: the options do not fit together.
    """
    insertion, block = values["insertion"], values["block"]
    if values["configuration"] == "houlsby" and block:
        raise MethodError(f"houlsby adapts both blocks; leave out {block!r} or say pfeiffer")
    block = block or ("mhsa" if values["configuration"] == "pfeiffer" else "")
    if insertion == "mixed":
        if values["configuration"] != "houlsby":
            raise MethodError("mixed is parallel at MHSA and sequential at the FFN: say houlsby,mixed")
        for name in ("order", "residual"):
            if values[name]:
                raise MethodError(f"mixed decides the {name} itself; leave out {values[name]!r}")
    order = "" if values["order"] == ("before" if insertion == "parallel" else "after") else values["order"]
    if insertion == "sequential" and order == "before":
        return {**values, "block": block, "order": order, "residual": values["residual"] or "residual"}
    if values["residual"] == "skip":
        raise MethodError("skip is a connection around an adapter before its block; say sequential,before,skip")
    if insertion == "parallel" and order == "after" and values["residual"]:
        raise MethodError(f"parallel,after is sequential with its residual; say sequential,{values['residual']}")
    implied = "noresidual" if insertion == "parallel" else "residual"
    residual = "" if values["residual"] == implied else values["residual"]
    return {**values, "block": block, "order": order, "residual": residual}


def formerly_blocks(values: Values) -> Values:
    """Return the options with what earlier releases meant: `sequential,before` was `sequential,before,skip`."""
    before = values["insertion"] == "sequential" and values["order"] == "before"
    return {**values, "residual": "skip"} if before and not values["residual"] else values


def in_blocks(make: Callable[[Values], Form]) -> Callable[[Values], tuple[Placement, ...]]:
    """Return a `Method.place` that puts a form at one block or at both, with the LayerNorm of each (`with_norm`)."""

    def place(values: Values) -> tuple[Placement, ...]:
        form = make(values)
        blocks = [str(values["block"])] if values["block"] else ["mhsa", "ffn"]
        return tuple(one for block in blocks for one in with_norm(values, block, *_at_block(values, block, form)))

    return place


def with_norm(values: Values, block: str, *placements: Placement) -> tuple[Placement, ...]:
    """Add the LayerNorm of the block to the placements, unless the options say `nonorm`.

    The papers train it in every block of AST that has an adapter, but not in those of Wav2Vec 2.0.
    """
    return placements if values["norm"] else (Placement(f"norm_{block}", Norm(), "replace"), *placements)


def _at_block(values: Values, block: str, form: Form) -> tuple[Placement, ...]:
    insertion, residual = _insertion(str(values["insertion"]), str(values["order"]), block), values["residual"]
    if residual in ("", "skip"):
        return (Placement(block, form, insertion),)
    if insertion == "parallel":
        return (Placement(block, WithResidual(form), insertion),)
    if insertion == "after":
        return (Placement(block, form, "output"),)
    # The published code adds the adapter's output, which is the block's input, to the block's output.
    beside = (Placement(block, Identity(), "parallel"),) if residual == "residual" else ()
    return (Placement(block, form, "input"), *beside)


def _insertion(insertion: str, order: str, block: str) -> Insertion:
    """Return the insertion of a form that adds a delta, for the words of table III of the PETL paper.

    The paper's parallel "before" reads the block's input, and its parallel "after" the block's output.
    """
    if insertion == "mixed":
        return "parallel" if block == "mhsa" else "after"
    if insertion == "parallel":
        return "after" if order == "after" else "parallel"
    return "before" if order == "before" else "after"


def at_maps(make: Callable[[Values], Base]) -> Callable[[Values], tuple[Placement, ...]]:
    """Return a `Method.place` that puts a form at linear maps: any of q, k, v and o, or the two of the FFN."""

    def place(values: Values) -> tuple[Placement, ...]:
        form = make(values)
        sites = ("fc1", "fc2") if values["sites"] == "ffn" else tuple(str(values["sites"]))
        return tuple(Placement(site, form) for site in sites)

    return place
