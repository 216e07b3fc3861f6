"""Lottery ticket sparse fine-tuning (LT-SFT): all weights are trained, and then only those that changed most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.forms.base import Fresh, Params, Place, Weight
from cl_ast.adapters.forms.layers import linear
from cl_ast.backbone.sites import Shape

MAPS = ("q", "k", "v", "o", "fc1", "fc2")
"""The linear maps whose weights and biases are changed, in the order in which their numbers are counted."""


@dataclass(frozen=True, slots=True)
class SparseChange:
    """x Δᵀ + δ, the sparse change of a linear map: θ = θ₀ + φ, where K numbers of φ are not zero (LT-SFT).

    Ansell et al. 2022, section 3. K counts the numbers of all maps together: a task has their indices, in ascending
    order through the weights and biases of all layers, and their values.

    Attributes:
        count: K, or how many numbers the adapted layers have, if these are fewer.
        size: the input and the output width of the map.
        first: the index of the map's first number; its weight comes before its bias.
        total: how many numbers all maps of the backbone have.
    """

    label: ClassVar[str] = "ltsft"
    fresh: ClassVar[Fresh] = "zero"
    count: int
    size: tuple[int, int] = (0, 0)
    first: int = 0
    total: int = 0

    def located(self, place: Place) -> "SparseChange":
        shape = place.shape
        a_layer = sum(_numbers(shape, one) for one in MAPS)
        before = sum(_numbers(shape, one) for one in MAPS[: MAPS.index(place.site)])
        count = min(self.count, (shape.depth - place.lowest) * a_layer)
        return SparseChange(count, shape.of(place.site), place.layer * a_layer + before, shape.depth * a_layer)

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {
            "indices": Weight((self.count,), "choice", self.total, trained=False, shared=True),
            "values": Weight((self.count,), shared=True),
        }

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        if p["values"].dim() == 1:
            return F.linear(x, *self._dense(p["indices"], p["values"]))
        # One after the other, since dense weights for all rows of a batch would need much memory.
        rows = zip(x, p["indices"], p["values"], strict=True)
        return torch.stack([F.linear(row, *self._dense(indices, values)) for row, indices, values in rows])

    def folded(self, stock: Params, p: Params) -> Mapping[str, Tensor]:
        weight, bias = self._dense(p["indices"], p["values"])
        return {"weight": stock["weight"] + weight, "bias": stock["bias"] + bias}

    def joined(self, parts: Sequence[Params]) -> Params:
        indices, values = (torch.cat([part[name] for part in parts]) for name in ("indices", "values"))
        largest = values.abs().topk(self.count).indices.sort().values
        return {"indices": indices[largest], "values": values[largest]}

    def _dense(self, indices: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return Δ (out, in) and δ (out,) of this map, from the indices and values of all maps."""
        width_in, width_out = self.size
        numbers = (width_in + 1) * width_out
        ends = torch.tensor([self.first, self.first + numbers], dtype=indices.dtype, device=indices.device)
        begin, end = torch.searchsorted(indices, ends).tolist()
        flat = values.new_zeros(numbers)
        flat[indices[begin:end].long() - self.first] = values[begin:end]
        return flat[: width_in * width_out].view(width_out, width_in), flat[width_in * width_out :]


@dataclass(frozen=True, slots=True)
class LargestChanges:
    """x (M ∘ Δ)ᵀ + m ∘ δ, which trains a `SparseChange` in two phases; Δ and δ start at zero in both.

    In the first phase all of M and m is one, as in full fine-tuning. Then M and m are one where the K largest |Δ| and
    |δ| of all maps are, and zero elsewhere, and the others are trained from their start again ("rewinding").

    Attributes:
        change: the form that a file has.
    """

    label: ClassVar[str] = "ltsft"
    fresh: ClassVar[Fresh] = "zero"
    change: SparseChange

    def located(self, place: Place) -> "LargestChanges":
        return LargestChanges(self.change.located(place))

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        shapes = {"weight": (width_out, width_in), "bias": (width_out,)}
        changes = {name: Weight(shape) for name, shape in shapes.items()}
        return {**changes, **{f"{name}.mask": Weight(shape, "ones", trained=False) for name, shape in shapes.items()}}

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        return linear(x, p["weight"] * p["weight.mask"], p["bias"] * p["bias.mask"])

    def folded(self, stock: Params, p: Params) -> Mapping[str, Tensor]:
        return {kind: tensor + p[kind] * p[f"{kind}.mask"] for kind, tensor in stock.items()}

    def changes(self, p: Params) -> Tensor:
        return torch.cat([(p[name] * p[f"{name}.mask"]).flatten() for name in ("weight", "bias")])

    def most(self, changes: Tensor) -> Tensor:
        found = torch.zeros_like(changes)
        found[changes.abs().topk(self.change.count).indices] = 1
        return found

    def rewind(self, p: Params, chosen: Tensor) -> None:
        weight, bias = torch.split(chosen, [p["weight"].numel(), p["bias"].numel()])
        p["weight.mask"].copy_(weight.view_as(p["weight"]))
        p["bias.mask"].copy_(bias)
        for name in ("weight", "bias"):
            p[name].zero_()

    def finished(self) -> SparseChange:
        return self.change

    def finish(self, p: Params) -> Params:
        (kept,) = torch.cat([p["weight.mask"].flatten(), p["bias.mask"]]).nonzero(as_tuple=True)
        return {"indices": (kept + self.change.first).int(), "values": self.changes(p)[kept]}


def _numbers(shape: Shape, site: str) -> int:
    width_in, width_out = shape.of(site)
    return (width_in + 1) * width_out
