"""Where and how a delta acts: the rows that a method is made of (the unified view, He et al. 2022, table 1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from cl_ast.adapters.forms import Form, Norm, Params
from cl_ast.backbone import Shape

Insertion = Literal["parallel", "before", "after", "replace"]


@dataclass(frozen=True, slots=True)
class Placement:
    """One delta in every adapted layer.

    Attributes:
        site: a name of `backbone.SITES`.
        form: what is computed.
        insertion: "parallel" adds the delta of the block's input to its output; "after" adds the delta of its
            output; "before" adds it to its input; "replace" stands in the block's place.
    """

    site: str
    form: Form
    insertion: Insertion = "parallel"

    @property
    def key(self) -> str:
        """How its tensors are called inside a layer."""
        return f"{self.site}.{self.insertion}.{self.form.label}"

    def fitted(self, shape: Shape) -> "Placement":
        """The same placement with what the trunk decides filled in."""
        return replace(self, form=Norm(shape.norm_eps)) if isinstance(self.form, Norm) else self


Part = tuple[Placement, Params]


def act(parts: Sequence[Part], run: Callable[[Tensor], Tensor], x: Tensor, *, training: bool = False) -> Tensor:
    """The adapted block: `run` is the stock block, x its input (batch, tokens, width).

    Deltas do not see one another, except that "before" changes what the block (and so "after") sees.
    """

    def delta(part: Part, value: Tensor) -> Tensor:
        placement, params = part
        return placement.form.delta(value, params, training=training)

    by = {kind: [part for part in parts if part[0].insertion == kind] for kind in _ORDER}
    if by["replace"]:
        return delta(by["replace"][0], x)
    inner = x
    for part in by["before"]:
        inner = inner + delta(part, x)
    stock = run(inner)
    out = stock
    for part in by["parallel"]:
        out = out + delta(part, x)
    for part in by["after"]:
        out = out + delta(part, stock)
    return out


_ORDER: tuple[Insertion, ...] = ("replace", "before", "parallel", "after")
