"""The functional forms: what a delta computes, whatever the site it acts at (He et al. 2022, table 1).

A form is a frozen row of sizes with two methods: the tensors it owns, and the delta it computes from them. Forms
hold no weights. Every form accepts tensors with a leading batch dimension too, one set a row, so that a batch
whose rows belong to different tasks runs the trunk once.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

Params = Mapping[str, Tensor]
Start = Literal["zeros", "ones", "uniform", "stock"]


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor of a form: its shape, and how it starts.

    Attributes:
        start: "zeros", "ones", "uniform" (as torch's Linear and Conv1d start), or "stock" (the trunk's own value).
        fan_in: of a "uniform" start.
        trained: False for running statistics, which are stored with the task but not optimised.
    """

    shape: tuple[int, ...]
    start: Start = "zeros"
    fan_in: int = 0
    trained: bool = True

    def make(self, generator: torch.Generator, stock: Tensor | None = None) -> Tensor:
        """A fresh tensor on the CPU; `stock` is the trunk's own, for a form that replaces it."""
        if self.start == "stock":
            assert stock is not None
            return stock.detach().to("cpu", torch.float32, copy=True)
        if self.start == "uniform":
            bound = 1 / math.sqrt(self.fan_in)
            return torch.empty(self.shape).uniform_(-bound, bound, generator=generator)
        return torch.ones(self.shape) if self.start == "ones" else torch.zeros(self.shape)


@runtime_checkable
class Form(Protocol):
    """A way to compute a delta from a hidden state."""

    label: ClassVar[str]

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        """The tensors of one layer, by name."""
        ...

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        """x (batch, tokens, width_in) to the delta (batch, tokens, width_out)."""
        ...


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """GELU(x W_down + b) W_up + b (Houlsby et al. 2019; eq. 6 and 7 of the PETL paper). Starts at zero."""

    label: ClassVar[str] = "bottleneck"
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


@dataclass(frozen=True, slots=True)
class Conformer:
    """The convolution module of the Conformer as an adapter (PETL conformer paper, section 2.2 and figure 1).

    LayerNorm, pointwise to 2r, GLU, depthwise convolution of width k over the tokens, BatchNorm, Swish, pointwise
    back. The norm comes first, as the paper's text says (its code drops the norm's result). Starts at zero.
    """

    label: ClassVar[str] = "conformer"
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
            "batchnorm.weight": Weight((r,), "ones"),
            "batchnorm.bias": Weight((r,)),
            "batchnorm.mean": Weight((r,), trained=False),
            "batchnorm.var": Weight((r,), "ones", trained=False),
            "up.weight": Weight((width_out, r)),
            "up.bias": Weight((width_out,)),
        }

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        normed = layer_norm(x, p["norm.weight"], p["norm.bias"])
        hidden = F.glu(linear(normed, p["down.weight"], p["down.bias"]), dim=-1)
        hidden = depthwise(hidden, p["depthwise.weight"], p["depthwise.bias"])
        hidden = F.silu(_batch_norm(hidden, p, training=training))
        return linear(hidden, p["up.weight"], p["up.bias"])


@dataclass(frozen=True, slots=True)
class LowRank:
    """s · x A B (LoRA, Hu et al. 2022; eq. 2 of the conformer paper). B starts at zero. Has no bias."""

    label: ClassVar[str] = "lora"
    rank: int
    scale: float = 8.0

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {
            "a": Weight((self.rank, width_in), "uniform", width_in),
            "b": Weight((width_out, self.rank)),
        }

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        # The scale acts on r numbers a token, not on the wide output.
        return linear(linear(x, p["a"]) * self.scale, p["b"])


@dataclass(frozen=True, slots=True)
class Norm:
    """A LayerNorm of the task's own, in place of the trunk's, from which it starts."""

    label: ClassVar[str] = "norm"
    eps: float = 1e-12  # AST's own

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {"weight": Weight((width_in,), "stock"), "bias": Weight((width_in,), "stock")}

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        return layer_norm(x, p["weight"], p["bias"], self.eps)


# Layers that take one set of weights for the batch, or one a row (a leading batch dimension).


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (batch, tokens, in) with weight (out, in) or (batch, out, in)."""
    if weight.dim() == 2:
        return F.linear(x, weight, bias)
    if bias is None:
        return torch.bmm(x, weight.mT)
    return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """LayerNorm over the width, with weight (width,) or (batch, width)."""
    if weight.dim() == 1:
        return F.layer_norm(x, weight.shape, weight, bias, eps)
    return torch.addcmul(bias.unsqueeze(1), F.layer_norm(x, x.shape[-1:], eps=eps), weight.unsqueeze(1))


def depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolution over the tokens, a kernel a channel, same length: weight (r, k) or (batch, r, k)."""
    batch, tokens, channels = x.shape
    kernel = weight.shape[-1]
    left = (kernel - 1) // 2
    padded = F.pad(x.mT, (left, kernel - 1 - left))
    if weight.dim() == 2:
        return F.conv1d(padded, weight.unsqueeze(1), bias, groups=channels).mT
    rows = padded.reshape(1, batch * channels, -1)
    out = F.conv1d(rows, weight.reshape(batch * channels, 1, kernel), bias.flatten(), groups=batch * channels)
    return out.view(batch, channels, tokens).mT


def _batch_norm(x: Tensor, p: Params, *, training: bool) -> Tensor:
    """BatchNorm over (batch, tokens); running statistics are updated in place while training."""
    mean, var = p["batchnorm.mean"], p["batchnorm.var"]
    weight, bias = p["batchnorm.weight"], p["batchnorm.bias"]
    if mean.dim() == 1:
        return F.batch_norm(x.mT, mean, var, weight, bias, training).mT
    scale = weight * (var + 1e-5).rsqrt()
    return torch.addcmul((bias - mean * scale).unsqueeze(1), x, scale.unsqueeze(1))
