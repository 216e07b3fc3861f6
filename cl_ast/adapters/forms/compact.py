"""Bottlenecks with fewer parameters, or with fewer bits for each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.forms.base import Fresh, Params, Weight
from cl_ast.adapters.forms.layers import linear
from cl_ast.adapters.one_bit import binary, centred
from cl_ast.errors import MethodError


@dataclass(frozen=True, slots=True)
class Compacter:
    """A bottleneck with W = Σ_i A_i ⊗ (s_i t_iᵀ), i = 1..n (Karimi Mahabadi et al. 2021, eq. 4 and 5).

    All layers, sites and both projections share the slow weights A_i, each n by n; the fast weights s_i t_iᵀ have rank
    one. t of the up projection starts at zero.
    """

    label: ClassVar[str] = "compacter"
    fresh: ClassVar[Fresh] = "zero"
    rank: int
    parts: int

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        n, r = self.parts, self.rank
        if width_in % n or width_out % n or r % n:
            raise MethodError(f"compacter: n={n} must divide r={r} and the widths {width_in} and {width_out}")
        return {
            # The name contains n, since adapters with another n cannot share these weights.
            f"slow{n}": Weight((n, n, n), "uniform", n, shared=True),
            "down.s": Weight((n, r // n), "uniform", 1),
            "down.t": Weight((n, width_in // n), "uniform", width_in),
            "down.bias": Weight((r,)),
            "up.s": Weight((n, width_out // n), "uniform", 1),
            "up.t": Weight((n, r // n)),
            "up.bias": Weight((width_out,)),
        }

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        hidden = F.gelu(linear(x, self._weight(p, "down"), p["down.bias"]))
        return linear(hidden, self._weight(p, "up"), p["up.bias"])

    def _weight(self, p: Params, side: str) -> Tensor:
        """Return the sum of Kronecker products (..., out, in)."""
        slow, s, t = p[f"slow{self.parts}"], p[f"{side}.s"], p[f"{side}.t"]
        summed = torch.einsum("...iab,...ic,...id->...acbd", slow, s, t)
        return summed.flatten(-4, -3).flatten(-2, -1)


@dataclass(frozen=True, slots=True)
class CentredOneBit:
    """s · ReLU(x Q(W_down)) Q(W_up), where Q(W) = mean ± 0.674 · deviation of W (Jie et al. 2023).

    Weights are quantised during training too, as in the public code: the gradient passes through the signs, and through
    mean and deviation. A file holds the signs and these two numbers for each matrix. The up projection starts within
    0.002 of zero, but not at zero, where a deviation has no gradient.
    """

    label: ClassVar[str] = "onebit"
    fresh: ClassVar[Fresh] = "other"
    rank: int
    scale: float = 1.0

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {
            "down": Weight((self.rank, width_in), "uniform", width_in, bits=1, centred=True, single=True),
            "up": Weight((width_out, self.rank), "uniform", 500**2, bits=1, centred=True, single=True),
        }

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        down, up = (_through_moments(p[name]).to(x.dtype) for name in ("down", "up"))
        return linear(F.relu(linear(x, down)) * self.scale, up)


def _through_moments(weight: Tensor) -> Tensor:
    """Return centred(weight), with the gradient of the public code."""
    values = centred(weight)
    if not weight.requires_grad:
        return values
    deviation, mean = torch.std_mean(weight)
    scaled = (weight - mean) / (deviation + 1e-5)
    scaled = scaled + ((values - mean) / deviation - scaled).detach()
    out = scaled * deviation + mean
    return out + (values - out).detach()  # the very values that a file gives


@dataclass(frozen=True, slots=True)
class OneBit:
    """s · GELU(x Q(W_down)) Q(W_up), where Q(W) = mean|W| · sign(W), the best values by least squares. Starts at zero.

    Weights are quantised during training too, with the straight-through gradient. A file holds the signs and one
    magnitude for each matrix.
    """

    label: ClassVar[str] = "onebit"
    fresh: ClassVar[Fresh] = "zero"
    rank: int
    scale: float = 1.0

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {
            "down": Weight((self.rank, width_in), "uniform", width_in, bits=1, single=True),
            "up": Weight((width_out, self.rank), bits=1, single=True),
        }

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        down, up = (_straight_through(p[name]).to(x.dtype) for name in ("down", "up"))
        return linear(F.gelu(linear(x, down)) * self.scale, up)


def _straight_through(weight: Tensor) -> Tensor:
    """Return the 1-bit values of a weight; their gradient is passed on to the weight unchanged."""
    return weight + (binary(weight) - weight).detach() if weight.requires_grad else binary(weight)
