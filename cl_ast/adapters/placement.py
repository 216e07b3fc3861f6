"""Where and how a form acts: the rows that a method is made of (the unified view, He et al. 2022, table 1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

from cl_ast.adapters.forms import Base, Form, HeadsForm, Norm, Params
from cl_ast.backbone.sites import Shape

Insertion = Literal["replace", "input", "before", "parallel", "after", "output", "attend"]
Layers = Literal["all", "first", "rest"]

_ADDING = ("before", "parallel", "after")


@dataclass(frozen=True, slots=True)
class Placement:
    """One form at one site of the adapted layers.

    Attributes:
        site: a name of `sites.SITES`.
        form: what is computed.
        insertion: "parallel" adds the delta of the block's input to its output; "after" adds the delta of its
            output; "before" adds it to its input. The others do not add: "input" and "output" give the block another
            input or its caller another output, "replace" stands in the block's place, and "attend" acts inside
            attention.
        layers: of the adapted ones: all, the first, or all but the first.
        first: the lowest adapted layer, counted from 0.
    """

    site: str
    form: Base
    insertion: Insertion = "parallel"
    layers: Layers = "all"
    first: int = 0

    @property
    def key(self) -> str:
        """How its tensors are called inside a layer."""
        return f"{self.site}.{self.insertion}.{self.form.label}"

    @property
    def starts_plain(self) -> bool:
        """Whether a fresh one leaves the backbone's output as it is."""
        adds = self.insertion in _ADDING or self.insertion == "attend"
        return self.form.fresh == ("zero" if adds else "identity")

    def acts_in(self, layer: int) -> bool:
        here = self.layers == "all" or (self.layers == "first") == (layer == self.first)
        return here and layer >= self.first

    def fitted(self, shape: Shape) -> "Placement":
        """The same placement with what the backbone decides filled in."""
        return replace(self, form=Norm(shape.norm_eps)) if isinstance(self.form, Norm) else self


Part = tuple[Placement, Params]


def act(parts: Sequence[Part], run: Callable[[Any], Tensor], x: Any, *, training: bool = False) -> Tensor:
    """The adapted block: `run` is the stock block, x its input (batch, tokens, width).

    Deltas do not see one another, except that "before" changes what the block (and so "after") sees. "input" comes
    before all of them and "output" after. At the site "heads", x is `Heads`, and the one form there does as it likes.
    """
    for placement, params in _of(parts, "attend"):
        assert isinstance(placement.form, HeadsForm)
        return placement.form.attend(run, x, params)
    x, inner = enter(parts, x, training=training)
    return leave(parts, x, None if stands_in(parts) else run(inner), training=training)


# The two halves of it: a bank runs the stock block between them once, for rows of several methods.


def enter(parts: Sequence[Part], x: Tensor, *, training: bool = False) -> tuple[Tensor, Tensor]:
    """What the deltas read, and what the stock block is given; both x itself where nothing changes it."""
    for part in _of(parts, "input"):
        x = _new(part, x, training)
    inner = x
    for part in _of(parts, "before"):
        inner = inner + _new(part, x, training)
    return x, inner


def leave(parts: Sequence[Part], x: Tensor, stock: Tensor | None, *, training: bool = False) -> Tensor:
    """What the adapted block gives, where the stock one gave `stock` (None where a form stands in its place)."""
    for part in _of(parts, "replace"):
        return _new(part, x, training)
    assert stock is not None
    out = stock
    for part in _of(parts, "parallel"):
        out = out + _new(part, x, training)
    for part in _of(parts, "after"):
        out = out + _new(part, stock, training)
    for part in _of(parts, "output"):
        out = _new(part, out, training)
    return out


def stands_in(parts: Sequence[Part]) -> bool:
    """Whether a form stands in the stock block's place, which then need not run."""
    return any(placement.insertion == "replace" for placement, _ in parts)


def _of(parts: Sequence[Part], insertion: Insertion) -> list[Part]:
    return [part for part in parts if part[0].insertion == insertion]


def _new(part: Part, value: Tensor, training: bool) -> Tensor:
    placement, params = part
    assert isinstance(placement.form, Form)
    return placement.form.delta(value, params, training=training)
