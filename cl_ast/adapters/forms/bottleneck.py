"""Bottlenecks: project down to a small width, compute something there, and project up again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.forms.base import Form, Fresh, Params, Weight
from cl_ast.adapters.forms.layers import batch_norm, convolve, depthwise, layer_norm, linear, vector


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """GELU(x W_down + b) W_up + b (Houlsby et al. 2019; eq. 6 and 7 of the PETL paper). Starts at zero."""

    label: ClassVar[str] = "bottleneck"
    fresh: ClassVar[Fresh] = "zero"
    rank: int

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {
            "down.weight": Weight((self.rank, width_in), "uniform", width_in),
            "down.bias": Weight((self.rank,), "uniform", width_in),
            "up.weight": Weight((width_out, self.rank)),
            "up.bias": Weight((width_out,)),
        }

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        hidden = F.gelu(linear(x, p["down.weight"], p["down.bias"]))
        return linear(hidden, p["up.weight"], p["up.bias"])

    def widened(self, rank: int) -> "Bottleneck":
        return Bottleneck(rank)

    def padded(self, p: Params, rank: int) -> Params:
        more = rank - self.rank
        return {
            "down.weight": F.pad(p["down.weight"], (0, 0, 0, more)),
            "down.bias": F.pad(p["down.bias"], (0, more)),
            "up.weight": F.pad(p["up.weight"], (0, more)),
            "up.bias": p["up.bias"],
        }


@dataclass(frozen=True, slots=True)
class ScaledBottleneck:
    """s · (ReLU(x W_down + b) W_up + b): He et al. 2022, table 1. Starts at zero.

    Attributes:
        scale: s.
        learned: whether s is trained (table 5, "trainable s"); `scale` is then its initial value.
    """

    label: ClassVar[str] = "scaled"
    fresh: ClassVar[Fresh] = "zero"
    rank: int
    scale: float = 1.0
    learned: bool = False

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        own = Bottleneck(self.rank).weights(width_in, width_out)
        return {**own, "scale": Weight((1,), "ones")} if self.learned else own

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        hidden = F.relu(linear(x, p["down.weight"], p["down.bias"]))
        out = self.scale * linear(hidden, p["up.weight"], p["up.bias"])
        # The trained number is a factor on s, so that it starts at one.
        return out * vector(p["scale"]) if self.learned else out


@dataclass(frozen=True, slots=True)
class Convpass:
    """A bottleneck with a convolution over the tokens (Jie & Deng 2022; PETL paper, figure 1). Starts at zero.

    GELU(conv_k(GELU(x W_down + b))) W_up + b. The published code computes the convolution and drops its result; here
    the result is used. It is one-dimensional over the sequence, which follows from the papers' parameter counts.
    """

    label: ClassVar[str] = "convpass"
    fresh: ClassVar[Fresh] = "zero"
    rank: int
    kernel: int = 3

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        r, k = self.rank, self.kernel
        return {
            **Bottleneck(r).weights(width_in, width_out),
            "conv.weight": Weight((r, r, k), "uniform", r * k),
            "conv.bias": Weight((r,), "uniform", r * k),
        }

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        hidden = F.gelu(linear(x, p["down.weight"], p["down.bias"]))
        hidden = F.gelu(convolve(hidden, p["conv.weight"], p["conv.bias"]))
        return linear(hidden, p["up.weight"], p["up.bias"])


@dataclass(frozen=True, slots=True)
class Conformer:
    """The convolution module of the Conformer as an adapter (PETL conformer paper, section 2.2 and figure 1).

    LayerNorm, a pointwise map to 2r, GLU, a depthwise convolution of width k over the tokens, BatchNorm, Swish, and a
    pointwise map back. The LayerNorm comes first, as in the paper's text; its code drops the LayerNorm's result. Starts
    at zero.
    """

    label: ClassVar[str] = "conformer"
    fresh: ClassVar[Fresh] = "zero"
    rank: int
    kernel: int = 31

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        r, k = self.rank, self.kernel
        return {
            "norm.weight": Weight((width_in,), "ones"),
            "norm.bias": Weight((width_in,)),
            "down.weight": Weight((2 * r, width_in), "uniform", width_in),
            "down.bias": Weight((2 * r,), "uniform", width_in),
            "depthwise.weight": Weight((r, k), "uniform", k),
            "depthwise.bias": Weight((r,), "uniform", k),
            "batchnorm.weight": Weight((r,), "ones", single=True),
            "batchnorm.bias": Weight((r,), single=True),
            "batchnorm.mean": Weight((r,), trained=False, single=True),
            "batchnorm.var": Weight((r,), "ones", trained=False, single=True),
            "up.weight": Weight((width_out, r)),
            "up.bias": Weight((width_out,)),
        }

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        normed = layer_norm(x, p["norm.weight"], p["norm.bias"])
        hidden = F.glu(linear(normed, p["down.weight"], p["down.bias"]), dim=-1)
        hidden = depthwise(hidden, p["depthwise.weight"], p["depthwise.bias"])
        hidden = F.silu(batch_norm(hidden, p, training=training))
        return linear(hidden, p["up.weight"], p["up.bias"])

    def widened(self, rank: int) -> "Conformer":
        return Conformer(rank, self.kernel)

    def padded(self, p: Params, rank: int) -> Params:
        more = rank - self.rank
        # GLU multiplies the first half by the second, so that each is padded on its own.
        halves = [F.pad(half, (0, 0, 0, more)) for half in p["down.weight"].chunk(2)]
        biases = [F.pad(half, (0, more)) for half in p["down.bias"].chunk(2)]
        return {
            **p,
            "down.weight": torch.cat(halves),
            "down.bias": torch.cat(biases),
            "depthwise.weight": F.pad(p["depthwise.weight"], (0, 0, 0, more)),
            **{name: F.pad(p[name], (0, more)) for name in ("depthwise.bias", "batchnorm.weight", "batchnorm.bias")},
            "batchnorm.mean": F.pad(p["batchnorm.mean"], (0, more)),
            "batchnorm.var": F.pad(p["batchnorm.var"], (0, more), value=1.0),
            "up.weight": F.pad(p["up.weight"], (0, more)),
        }


@dataclass(frozen=True, slots=True)
class Identity:
    """x itself: the residual connection of an adapter that replaces the input of its block (PETL code, table III)."""

    label: ClassVar[str] = "identity"
    fresh: ClassVar[Fresh] = "identity"

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {}

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        return x


@dataclass(frozen=True, slots=True)
class WithResidual:
    """x + form(x): a residual connection around a form that has none (PETL paper, table VII)."""

    fresh: ClassVar[Fresh] = "other"
    form: Form

    @property
    def label(self) -> str:
        return self.form.label

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return self.form.weights(width_in, width_out)

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        return x + self.form.delta(x, p, training=training)
