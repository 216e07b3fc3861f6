"""Where and how a form acts; a method is a list of placements (the unified view, He et al. 2022, table 1)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor

from cl_ast.adapters.forms import Base, Form, HeadsForm, Located, Params, Place, Weight
from cl_ast.backbone.sites import Shape

Insertion = Literal["replace", "input", "before", "parallel", "after", "output", "attend"]
Layers = Literal["all", "first", "rest", "bottom"]

_ADDING = ("before", "parallel", "after")


@dataclass(frozen=True, slots=True)
class Placement:
    """One form at one site of the adapted layers.

    Attributes:
        site: one of `sites.SITES`, or `sites.EMBEDDING`.
        form: what is computed there.
        insertion: "parallel" adds a delta, computed from the block's input, to the block's output; "after" adds a
            delta computed from the output to the output; "before" adds a delta computed from the input to the input.
            The others do not add: "input" and "output" replace the block's input or output by the form's value,
            "replace" runs the form instead of the block, and "attend" acts inside attention.
        layers: in which of the adapted layers it acts: in all, in the first, in all but the first ("rest"), or in layer
            0 if that is adapted ("bottom").
        first: the lowest adapted layer, counted from 0.
    """

    site: str
    form: Base
    insertion: Insertion = "parallel"
    layers: Layers = "all"
    first: int = 0

    @property
    def key(self) -> str:
        """The part of its tensors' names that tells this placement from others of the same layer."""
        return f"{self.site}.{self.insertion}.{self.form.label}"

    @property
    def starts_plain(self) -> bool:
        """Whether the untrained form leaves the backbone's output as it is."""
        adds = self.insertion in _ADDING or self.insertion == "attend"
        return self.form.fresh == ("zero" if adds else "identity")

    def acts_in(self, layer: int) -> bool:
        """Return whether the form acts in this layer."""
        if self.layers == "bottom":
            return layer == self.first == 0
        here = self.layers == "all" or (self.layers == "first") == (layer == self.first)
        return here and layer >= self.first

    def in_layer(self, shape: Shape, layer: int) -> "Placement":
        """Return the placement with its form for one layer of a backbone (`Located`)."""
        if not isinstance(self.form, Located):
            return self
        return replace(self, form=self.form.located(Place(shape, layer, self.site, self.first)))

    def weights(self, shape: Shape, layer: int) -> Mapping[str, Weight]:
        """Return the tensors of its form in one layer, by the form's names. Raises MethodError as the form does."""
        return self.in_layer(shape, layer).form.weights(*shape.of(self.site))


class Part(NamedTuple):
    """A placement with its tensors in one layer.

    Attributes:
        single: the names of the tensors that stay in single precision where the layers compute in bf16.
    """

    placement: Placement
    params: Params
    single: frozenset[str] = frozenset()

    def in_type_of(self, x: Tensor) -> Params:
        """Return the tensors in the type of x; their gradients stay in the type that they are stored in."""
        if x.dtype == torch.float32:
            return self.params
        return {
            name: tensor if name in self.single or not tensor.is_floating_point() else tensor.to(x.dtype)
            for name, tensor in self.params.items()
        }


def act(parts: Sequence[Part], run: Callable[[Any], Tensor], x: Any, *, training: bool = False) -> Tensor:
    """Return the output of the adapted block: `run` is the stock block, x its input (batch, tokens, width).

    No form reads the delta of another, except that "before" changes the input of the block, and so its output, which
    "after" reads. "input" acts before all others and "output" after them. At the site "heads", x is `Heads`, and the
    one form there decides how attention is run.
    """
    for part in _inserted(parts, "attend"):
        return cast(HeadsForm, part.placement.form).attend(run, x, part.in_type_of(x.q))
    x, block_input = enter_block(parts, x, training=training)
    return leave_block(parts, x, None if replaces_block(parts) else run(block_input), training=training)


# `act` in two halves: a mixed batch runs the stock block between them once, for rows of several methods.


def enter_block(parts: Sequence[Part], x: Tensor, *, training: bool = False) -> tuple[Tensor, Tensor]:
    """Return the input of the deltas and the input of the stock block; both are x itself if nothing changes it."""
    for part in _inserted(parts, "input"):
        x = _apply(part, x, training)
    block_input = x
    for part in _inserted(parts, "before"):
        block_input = block_input + _apply(part, x, training)
    return x, block_input


def leave_block(parts: Sequence[Part], x: Tensor, stock: Tensor | None, *, training: bool = False) -> Tensor:
    """Return the output of the adapted block.

    Args:
        x: the input of the deltas, from `enter_block`.
        stock: the output of the stock block; None where a form replaces it.
    """
    for part in _inserted(parts, "replace"):
        return _apply(part, x, training)
    assert stock is not None
    out = stock
    for part in _inserted(parts, "parallel"):
        out = out + _apply(part, x, training)
    for part in _inserted(parts, "after"):
        out = out + _apply(part, stock, training)
    for part in _inserted(parts, "output"):
        out = _apply(part, out, training)
    return out


def replaces_block(parts: Sequence[Part]) -> bool:
    """Return whether a form replaces the stock block, which then need not run."""
    return any(part.placement.insertion == "replace" for part in parts)


def _inserted(parts: Sequence[Part], insertion: Insertion) -> list[Part]:
    return [part for part in parts if part.placement.insertion == insertion]


def _apply(part: Part, value: Tensor, training: bool) -> Tensor:
    # Not isinstance, which takes longer for a protocol than launching what the form computes.
    return cast(Form, part.placement.form).delta(value, part.in_type_of(value), training=training)
