"""Forms with one or two numbers for each channel: LayerNorm, shift, and scale and shift."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from cl_ast.adapters.forms.base import Fresh, Params, Place, Weight
from cl_ast.adapters.forms.layers import layer_norm, vector


@dataclass(frozen=True, slots=True)
class Norm:
    """A LayerNorm that replaces the backbone's and starts as a copy of it."""

    label: ClassVar[str] = "norm"
    fresh: ClassVar[Fresh] = "identity"
    eps: float = 1e-12  # AST's own

    def located(self, place: Place) -> "Norm":
        return Norm(place.shape.norm_eps)

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {"weight": Weight((width_in,)), "bias": Weight((width_in,))}

    def start(self, stock: Params) -> Mapping[str, Tensor]:
        return {"weight": stock["weight"], "bias": stock["bias"]}

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        return layer_norm(x, p["weight"], p["bias"], self.eps)

    def folded(self, stock: Params, p: Params) -> Mapping[str, Tensor]:
        return {"weight": p["weight"], "bias": p["bias"]}


@dataclass(frozen=True, slots=True)
class Shift:
    """A bias b, added to the output of a Linear or LayerNorm (BitFit, Ben Zaken et al. 2022). Starts at zero.

    b is the change of the module's own bias, so that a task stores no copy of the backbone's biases.
    """

    label: ClassVar[str] = "shift"
    fresh: ClassVar[Fresh] = "zero"

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {"bias": Weight((width_out,))}

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        return vector(p["bias"])

    def folded(self, stock: Params, p: Params) -> Mapping[str, Tensor]:
        return {**stock, "bias": stock["bias"] + p["bias"]}


@dataclass(frozen=True, slots=True)
class ScaleShift:
    """γ · h + β for the output h of a Linear or LayerNorm (SSF, Lian et al. 2022, eq. 3). Starts at γ = 1, β = 0."""

    label: ClassVar[str] = "ssf"
    fresh: ClassVar[Fresh] = "identity"

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {"scale": Weight((width_out,), "ones"), "shift": Weight((width_out,))}

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        return x * vector(p["scale"]) + vector(p["shift"])

    def folded(self, stock: Params, p: Params) -> Mapping[str, Tensor]:
        scale = p["scale"]
        weight = stock["weight"] * scale.view(-1, *[1] * (stock["weight"].dim() - 1))
        return {"weight": weight, "bias": stock["bias"] * scale + p["shift"]}
