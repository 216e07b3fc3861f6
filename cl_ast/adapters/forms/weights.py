"""Forms that update the weight of a linear map; each can be folded into it after training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.forms.base import Fresh, Params, Weight
from cl_ast.adapters.forms.layers import linear
from cl_ast.errors import MethodError


@dataclass(frozen=True, slots=True)
class LowRank:
    """s · x A B (LoRA, Hu et al. 2022; eq. 2 of the conformer paper). B starts at zero. Has no bias."""

    label: ClassVar[str] = "lora"
    fresh: ClassVar[Fresh] = "zero"
    rank: int
    scale: float = 8.0

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {
            "a": Weight((self.rank, width_in), "uniform", width_in),
            "b": Weight((width_out, self.rank)),
        }

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        # Scaling the r hidden numbers of a token is cheaper than scaling the wide output.
        return linear(linear(x, p["a"]) * self.scale, p["b"])

    def folded(self, stock: Params, p: Params) -> Mapping[str, Tensor]:
        return {**stock, "weight": stock["weight"] + self.scale * p["b"] @ p["a"]}

    def widened(self, rank: int) -> "LowRank":
        return LowRank(rank, 1.0)  # `padded` has the scale in A

    def padded(self, p: Params, rank: int) -> Params:
        more = rank - self.rank
        return {"a": F.pad(self.scale * p["a"], (0, 0, 0, more)), "b": F.pad(p["b"], (0, more))}


@dataclass(frozen=True, slots=True)
class Decomposed:
    """x (m ∘ V/‖V‖ − W)ᵀ with V = W + s B A: a LoRA of W's directions, and a magnitude for each output (DoRA).

    Liu et al. 2024, eq. 5. ‖V‖ has a number for each output, and no gradient (section 4.3). The magnitudes m start at
    ‖W‖, and weight decay pulls them there: at zero the backbone's map would be lost.
    """

    label: ClassVar[str] = "dora"
    fresh: ClassVar[Fresh] = "zero"
    reads: ClassVar[tuple[str, ...]] = ("weight",)
    rank: int
    scale: float = 8.0

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        # In single precision: in bf16, m / ‖V‖ would change every output by up to 0.4 %.
        return {
            "a": Weight((self.rank, width_in), "uniform", width_in, single=True),
            "b": Weight((width_out, self.rank), single=True),
            "m": Weight((width_out,), single=True),
        }

    def start(self, stock: Params) -> Mapping[str, Tensor]:
        return {"m": _lengths(stock["weight"].float())}

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        return linear(x, self._update(p["stock.weight"].float(), p).to(x.dtype))

    def anchors(self, p: Params) -> Mapping[str, Tensor]:
        return {"m": _lengths(p["stock.weight"])}

    def folded(self, stock: Params, p: Params) -> Mapping[str, Tensor]:
        return {**stock, "weight": stock["weight"] + self._update(stock["weight"], p)}

    def _update(self, weight: Tensor, p: Params) -> Tensor:
        """Return the change (..., out, in) of a weight (out, in)."""
        moved = weight + self.scale * p["b"] @ p["a"]
        return (p["m"] / _lengths(moved).detach()).unsqueeze(-1) * moved - weight


def _lengths(weight: Tensor) -> Tensor:
    """Return the length of each row of a weight (..., out, in)."""
    lengths: Tensor = torch.linalg.vector_norm(weight, dim=-1)
    return lengths.clamp_min(torch.finfo(weight.dtype).tiny)  # a row of zeros is not divided by zero


@dataclass(frozen=True, slots=True)
class PartialConnections:
    """x[:, C] D for r input columns C drawn at random (PaCA, Woo et al. 2025). D starts at zero.

    The paper trains these columns of W themselves. D is their change: the update is the same, and weight decay does not
    pull the backbone's own weights to zero.
    """

    label: ClassVar[str] = "paca"
    fresh: ClassVar[Fresh] = "zero"
    rank: int

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        if self.rank > width_in:
            raise MethodError(f"paca: r={self.rank} connections of {width_in}; r must be at most {width_in} here")
        return {
            "columns": Weight((self.rank,), "choice", width_in, trained=False),
            "d": Weight((width_out, self.rank)),
        }

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        columns = p["columns"].long()
        if columns.dim() == 1:
            return linear(x[..., columns], p["d"])
        chosen = columns.unsqueeze(1).expand(-1, x.shape[1], -1)
        return linear(x.gather(-1, chosen), p["d"])

    def folded(self, stock: Params, p: Params) -> Mapping[str, Tensor]:
        return {**stock, "weight": stock["weight"].index_add(1, p["columns"].long(), p["d"])}


@dataclass(frozen=True, slots=True)
class BlockAffine:
    """ΔW_ij = W_ij B_i + B_i over r by r blocks of W (Bone, Kang 2024). B starts at zero.

    There is one B_i for each row of blocks, and each block W_ij of the backbone's weight in that row is multiplied by
    it.
    """

    label: ClassVar[str] = "bone"
    fresh: ClassVar[Fresh] = "zero"
    reads: ClassVar[tuple[str, ...]] = ("weight",)
    rank: int

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        r = self.rank
        if width_in % r or width_out % r:
            raise MethodError(f"bone: r={r} must divide the widths {width_in} and {width_out}")
        return {"blocks": Weight((width_out // r, r, r))}

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        return linear(x, self._update(p["stock.weight"], p["blocks"]))

    def folded(self, stock: Params, p: Params) -> Mapping[str, Tensor]:
        return {**stock, "weight": stock["weight"] + self._update(stock["weight"], p["blocks"])}

    def _update(self, weight: Tensor, blocks: Tensor) -> Tensor:
        """Return ΔW (..., out, in) for W (out, in) and B (..., out / r, r, r)."""
        out, width = weight.shape
        r = self.rank
        grid = weight.view(out // r, r, width // r, r).transpose(1, 2)  # (rows, columns, r, r)
        row_blocks = blocks.unsqueeze(-3)
        update = grid @ row_blocks + row_blocks
        return update.transpose(-3, -2).reshape(*blocks.shape[:-3], out, width)


@dataclass(frozen=True, slots=True)
class SingularVectors:
    """x (U S Vᵀ − U₀ S₀ V₀ᵀ)ᵀ: trains the r largest singular values of W with their vectors (SORSA, Cao 2024).

    U, S and V start as those of W. Their initial values are stored too, since they have to be subtracted from the
    frozen backbone. Weight decay pulls to them: at zero the backbone would have lost its largest singular values.

    Attributes:
        gamma: the weight of the regulariser, the mean of ‖UᵀU − I‖ and ‖VVᵀ − I‖ over all places (Frobenius norms, not
            squared, as in the public code). It leaves all scaling to S.
    """

    label: ClassVar[str] = "sorsa"
    fresh: ClassVar[Fresh] = "zero"
    rank: int
    gamma: float = 0.08

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        if self.rank > min(width_in, width_out):
            raise MethodError(f"sorsa: r={self.rank} is more than the {min(width_in, width_out)} singular values")
        return {
            "u": Weight((width_out, self.rank)),
            "s": Weight((self.rank,)),
            "v": Weight((self.rank, width_in)),
            "was.us": Weight((width_out, self.rank), trained=False),
            "was.v": Weight((self.rank, width_in), trained=False),
        }

    def start(self, stock: Params) -> Mapping[str, Tensor]:
        u, s, v = (part.contiguous() for part in torch.linalg.svd(stock["weight"].cpu().float(), full_matrices=False))
        r = self.rank
        us = u[:, :r] * s[:r]
        return {"u": u[:, :r], "s": s[:r], "v": v[:r], "was.us": us, "was.v": v[:r]}

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        left = p["u"] * p["s"].unsqueeze(-2)
        return linear(linear(x, p["v"]), left) - linear(linear(x, p["was.v"]), p["was.us"])

    def penalty(self, p: Params) -> Tensor:
        return self.gamma * not_orthonormal(p["u"], p["v"])

    def anchors(self, p: Params) -> Mapping[str, Tensor]:
        values = torch.linalg.vector_norm(p["was.us"], dim=0)  # the columns of U are unit vectors
        return {"u": p["was.us"] / values, "s": values, "v": p["was.v"]}

    def folded(self, stock: Params, p: Params) -> Mapping[str, Tensor]:
        return {**stock, "weight": stock["weight"] + (p["u"] * p["s"]) @ p["v"] - p["was.us"] @ p["was.v"]}


def not_orthonormal(columns: Tensor, rows: Tensor) -> Tensor:
    """Return the mean of ‖UᵀU − I‖ and ‖VVᵀ − I‖ for U (out, r) and V (r, in).

    The norms are Frobenius norms, not squared, as in the public code of SORSA and AdaLoRA.
    """
    one = torch.eye(len(rows), device=rows.device)
    left, right = columns.mT @ columns - one, rows @ rows.mT - one
    distance: Tensor = torch.linalg.matrix_norm(left) + torch.linalg.matrix_norm(right)
    return distance / 2
