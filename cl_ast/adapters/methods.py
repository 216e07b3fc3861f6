"""The table of adaptation methods: a method is a row, a row is a list of placements.

Sizes and places are the papers' defaults (docs/methods.md gives equation and table of each).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from cl_ast.adapters.forms import Bottleneck, Conformer, Form, LowRank, Norm
from cl_ast.adapters.options import Choice, Letters, Number, Option, Values
from cl_ast.adapters.placement import Insertion, Placement
from cl_ast.errors import MethodError

Trains = Literal["adapter", "head", "trunk"]

_RANK = (1, 4096)
_BLOCKS = (
    Choice("configuration", ("pfeiffer", "houlsby"), "pfeiffer"),
    Choice("block", ("mhsa", "ffn")),
    Choice("insertion", ("parallel", "sequential"), "parallel"),
    Choice("order", ("before", "after")),
)


@dataclass(frozen=True, slots=True)
class Method:
    """A row of the table.

    Attributes:
        name: what `--method` takes.
        does: one line for a person.
        source: paper and table.
        options: what may follow the name.
        place: the placements that the options mean.
        trains: besides the head: an adapter, nothing, or the whole trunk.
        learning_rate: the papers' start of the cosine.
        settle: fills in what one option decides about another, and refuses what does not go together.
    """

    name: str
    does: str
    source: str
    options: tuple[Option, ...]
    place: Callable[[Values], tuple[Placement, ...]]
    trains: Trains
    learning_rate: float
    settle: Callable[[Values], Values] = lambda values: values


def _nowhere(_: Values) -> tuple[Placement, ...]:
    return ()


def _settle_blocks(values: Values) -> Values:
    """Pfeiffer adapts one block, MHSA unless said; Houlsby both; an order that the insertion implies is left out."""
    if values["configuration"] == "houlsby" and values["block"]:
        raise MethodError(f"houlsby adapts both blocks; leave out {values['block']!r} or say pfeiffer")
    block = values["block"] or ("mhsa" if values["configuration"] == "pfeiffer" else "")
    implied = "before" if values["insertion"] == "parallel" else "after"
    order = "" if values["order"] == implied else values["order"]
    return {**values, "block": block, "order": order}


def _in_blocks(values: Values, form: Form) -> tuple[Placement, ...]:
    """An adapter at one block or at both, with the LayerNorm of each trained beside it."""
    insertion = _insertion(str(values["insertion"]), str(values["order"]))
    return tuple(
        placement
        for block in ([str(values["block"])] if values["block"] else ["mhsa", "ffn"])
        for placement in (
            Placement(f"norm_{block}", Norm(), "replace"),
            Placement(block, form, insertion),
        )
    )


def _insertion(insertion: str, order: str) -> Insertion:
    """Table III of the PETL paper: its parallel "before" reads the block's input, "after" its output."""
    if insertion == "parallel":
        return "after" if order == "after" else "parallel"
    return "before" if order == "before" else "after"


def _bottleneck(values: Values) -> tuple[Placement, ...]:
    return _in_blocks(values, Bottleneck(int(values["r"])))


def _conformer(values: Values) -> tuple[Placement, ...]:
    return _in_blocks(values, Conformer(int(values["r"]), int(values["k"])))


def _lora(values: Values) -> tuple[Placement, ...]:
    form = LowRank(int(values["r"]), float(values["s"]))
    sites = ("fc1", "fc2") if values["sites"] == "ffn" else tuple(str(values["sites"]))
    return tuple(Placement(site, form) for site in sites)


_PETL = "Cappellazzo et al., PETL of AST (2023)"
_CONFORMER = "Cappellazzo et al., PETL of AST with conformer adapters (2024)"

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "linear",
            "the head and the final LayerNorm on frozen features",
            f"{_PETL}, table I",
            (),
            _nowhere,
            "head",
            1e-3,
        ),
        Method(
            "full",
            "every weight of a copy of the trunk, for comparison",
            f"{_PETL}, table I",
            (),
            _nowhere,
            "trunk",
            5e-5,
        ),
        Method(
            "bottleneck",
            "down to r, GELU, up again, at a block",
            f"{_PETL}, eq. 6 and 7, tables I and III; Houlsby et al. (2019)",
            (*_BLOCKS, Number("r", 12, *_RANK, "the bottleneck's width")),
            _bottleneck,
            "adapter",
            5e-3,
            _settle_blocks,
        ),
        Method(
            "conformer",
            "the Conformer's convolution module in a bottleneck, at a block",
            f"{_CONFORMER}, section 2.2, tables 1 and 2",
            (
                *_BLOCKS,
                Number("r", 8, *_RANK, "the bottleneck's width"),
                Number("k", 31, 1, 255, "the depthwise kernel"),
            ),
            _conformer,
            "adapter",
            5e-3,
            _settle_blocks,
        ),
        Method(
            "lora",
            "a low-rank update of linear maps, scaled by s",
            f"{_PETL}, eq. 5, table IV; Hu et al. (2022)",
            (
                Letters("sites", "qkvo", ("ffn",), "qv"),
                Number("r", 6, *_RANK, "the rank"),
                Number("s", 8.0, 0.0, 1e4, "the scale"),
            ),
            _lora,
            "adapter",
            5e-3,
        ),
    )
}
