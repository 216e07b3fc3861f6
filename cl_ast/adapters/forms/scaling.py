"""A handful of numbers a channel: a norm of the task's own, offsets, scale and shift."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from cl_ast.adapters.forms.base import Fresh, Params, Weight
from cl_ast.adapters.forms.layers import layer_norm, vector


@dataclass(frozen=True, slots=True)
class Norm:
    """A LayerNorm of the task's own, in place of the backbone's, from which it starts."""

    label: ClassVar[str] = "norm"
    fresh: ClassVar[Fresh] = "identity"
    eps: float = 1e-12  # AST's own

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
    """b, added to what a Linear or LayerNorm gives (BitFit, Ben Zaken et al. 2022). Starts at zero.

    It is how far the module's own bias has moved, so that a task stores no copy of the backbone's.
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
    """γ · h + β for what a Linear or LayerNorm gives (SSF, Lian et al. 2022, eq. 3). Starts at γ = 1, β = 0."""

    label: ClassVar[str] = "ssf"
    fresh: ClassVar[Fresh] = "identity"

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {"scale": Weight((width_out,), "ones"), "shift": Weight((width_out,))}

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        return x * vector(p["scale"]) + vector(p["shift"])

    def folded(self, stock: Params, p: Params) -> Mapping[str, Tensor]:
        scale = p["scale"]
        weight = stock["weight"] * (scale.unsqueeze(-1) if stock["weight"].dim() == 2 else scale)
        return {"weight": weight, "bias": stock["bias"] * scale + p["shift"]}
