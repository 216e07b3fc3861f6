"""Mixtures: several adapters take the place of one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.forms.base import Base, Fresh, Params, Weight
from cl_ast.adapters.forms.bottleneck import Bottleneck
from cl_ast.adapters.forms.layers import linear


@dataclass(frozen=True, slots=True)
class SparseMixture:
    """A bottleneck whose weights are split into n sparse parts (MoSA, Zhang et al. 2023).

    Each training step uses one part of each split matrix, drawn at random. The parts do not overlap and are used n
    times as large, so the whole matrix is their mean: after training, it is one bottleneck at no extra cost. Biases are
    not split. Starts at zero.

    Attributes:
        share: the matrix that is not split, "down" or "up"; "none" where both are.
    """

    label: ClassVar[str] = "mosa"
    fresh: ClassVar[Fresh] = "zero"
    rank: int
    experts: int
    share: str = "down"

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return Bottleneck(self.rank).weights(width_in, width_out)

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        if training:
            active = torch.randint(self.experts, (2,), device=x.device)
            for side, part in zip(("down", "up"), active, strict=True):
                if side != self.share:
                    weight = p[f"{side}.weight"]
                    p = {**p, f"{side}.weight": self.experts * weight * self.mask(weight, part)}
        return Bottleneck(self.rank).delta(x, p)

    def simplified(self) -> Base:
        return Bottleneck(self.rank)

    def mask(self, weight: Tensor, part: int | Tensor) -> Tensor:
        """Return ones at the weights of a part, and zeros at the others, in the shape of the matrix.

        The weights are divided into equal parts at random, as the public code does. Equal shapes are always divided
        alike, so that nothing has to be stored to resume a training.
        """
        count = weight.shape[-2] * weight.shape[-1]
        rank = _scrambled(torch.arange(count, device=weight.device)).argsort(stable=True).argsort()
        return (rank * self.experts // count == part).to(weight.dtype).view(weight.shape[-2:])


def _scrambled(numbers: Tensor) -> Tensor:
    """Return other numbers below 2³² that look random, the same on every device (a hash of the integers)."""
    for factor in (0x9E3779B1, 0x45D9F3B, 0x45D9F3B):
        numbers = (numbers + 1) * factor % 2**32
        numbers = numbers ^ (numbers >> 16)
    return numbers


@dataclass(frozen=True, slots=True)
class DenseMixture:
    """Σ_e g_e(x) bottleneck_e(x) with g = softmax(x W_g + b) (dense MoA, Cappellazzo et al. 2024). Starts at zero."""

    label: ClassVar[str] = "moa"
    fresh: ClassVar[Fresh] = "zero"
    rank: int
    experts: int

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {
            "gate.weight": Weight((self.experts, width_in), "uniform", width_in),
            "gate.bias": Weight((self.experts,), "uniform", width_in),
            **_experts(self.rank, self.experts, width_in, width_out),
        }

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        gates = linear(x, p["gate.weight"], p["gate.bias"]).softmax(dim=-1)
        out = _each(x.unsqueeze(1), p)  # (batch, experts, tokens, width)
        return torch.einsum("bne,benw->bnw", gates.to(out.dtype), out)


@dataclass(frozen=True, slots=True)
class SoftMixture:
    """Y = C · experts(Dᵀ X): each expert is applied to its slots, which are weighted means of all tokens (soft MoA).

    With L = X Φ, D is its softmax over the tokens and C over the slots (Puigcerver et al. 2024, eq. 1 to 3;
    Cappellazzo et al. 2024). Starts at zero.
    """

    label: ClassVar[str] = "softmoa"
    fresh: ClassVar[Fresh] = "zero"
    rank: int
    experts: int
    slots: int

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {
            "slots": Weight((self.experts * self.slots, width_in), "uniform", width_in),
            **_experts(self.rank, self.experts, width_in, width_out),
        }

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        logits = linear(x, p["slots"])  # (batch, tokens, experts * slots)
        inputs = logits.softmax(dim=1).mT.to(x.dtype) @ x
        out = _each(inputs.view(x.shape[0], self.experts, self.slots, -1), p)
        return logits.softmax(dim=2).to(out.dtype) @ out.flatten(1, 2)


def _experts(rank: int, experts: int, width_in: int, width_out: int) -> dict[str, Weight]:
    return {
        "down.weight": Weight((experts, rank, width_in), "uniform", width_in),
        "down.bias": Weight((experts, rank), "uniform", width_in),
        "up.weight": Weight((experts, width_out, rank)),
        "up.bias": Weight((experts, width_out)),
    }


def _each(x: Tensor, p: Params) -> Tensor:
    """Apply each expert's bottleneck to x (batch, experts or 1, n, width); return (batch, experts, n, width)."""
    hidden = F.gelu(x @ p["down.weight"].mT + p["down.bias"].unsqueeze(-2))
    return hidden @ p["up.weight"].mT + p["up.bias"].unsqueeze(-2)
