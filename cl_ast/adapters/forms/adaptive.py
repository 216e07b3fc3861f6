"""AdaLoRA: a low-rank update of linear maps whose rank is given to the maps where it matters most."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cl_ast.adapters.forms.base import Fresh, Params, Weight
from cl_ast.adapters.forms.layers import linear, vector
from cl_ast.adapters.forms.weights import LowRank, not_orthonormal

_TRAINED = ("p", "e", "q")
_SPREAD = 833  # the fan-in of uniform numbers with the paper's standard deviation, 0.02
_BETA = 0.85  # of both moving means, in the paper and in peft
# As shares of all steps, after the authors' script for MNLI (8,000 and 50,000 of some 85,000 steps).
_WARM_UP, _FINAL = 0.1, 0.5


@dataclass(frozen=True, slots=True)
class AdaptiveRank:
    """s · x (P Λ Q)ᵀ, of whose r triplets (P_i, λ_i, Q_i) all maps together keep a number of b a map (AdaLoRA).

    Zhang et al. 2023, eq. 3, 4 and 7 to 11. Λ starts at zero. P and Q stay nearly orthonormal by a regulariser, so that
    λ_i says how much a triplet does. A number w matters as much as Ī · Ū: Ī is the moving mean of its sensitivity
    |w ∇w|, and Ū that of how far the sensitivity is from Ī. A triplet matters as much as λ_i, a mean number of P_i and
    one of Q_i do together. Those that matter least get a λ_i of zero. A file has the LoRA A = Λ Q, B = P.

    Attributes:
        rank: r, at every map at the start.
        budget: b, the mean rank of a map in the end.
        gamma: the weight of the regulariser, the mean of ‖PᵀP − I‖ and ‖QQᵀ − I‖ over all maps (Frobenius norms, not
            squared, as in the public code).
    """

    label: ClassVar[str] = "lora"
    fresh: ClassVar[Fresh] = "zero"
    rank: int
    budget: int
    scale: float
    gamma: float

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        trained = {
            "p": Weight((width_out, self.rank), "uniform", _SPREAD),
            "e": Weight((self.rank,)),
            "q": Weight((self.rank, width_in), "uniform", _SPREAD),
        }
        means = {
            f"{name}.{kind}": Weight(weight.shape, trained=False, single=True)
            for name, weight in trained.items()
            for kind in ("sensitivity", "uncertainty")
        }
        return {**trained, **means, "mask": Weight((self.rank,), "ones", trained=False, single=True)}

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        return linear(linear(x, p["q"]) * vector(self.scale * p["e"]), p["p"])

    def penalty(self, p: Params) -> Tensor:
        return self.gamma * not_orthonormal(p["p"], p["q"])

    def folded(self, stock: Params, p: Params) -> Mapping[str, Tensor]:
        return self.finished().folded(stock, self.finish(p))

    def observe(self, p: Params) -> None:
        for name in _TRAINED:
            gradient = p[name].grad
            sensitivity = torch.zeros_like(p[name]) if gradient is None else (p[name] * gradient).abs()
            p[f"{name}.sensitivity"].lerp_(sensitivity, 1 - _BETA)
            p[f"{name}.uncertainty"].lerp_((sensitivity - p[f"{name}.sensitivity"]).abs(), 1 - _BETA)

    def importance(self, p: Params) -> Tensor:
        left, value, right = (p[f"{name}.sensitivity"] * p[f"{name}.uncertainty"] for name in _TRAINED)
        return value + left.mean(dim=0) + right.mean(dim=1)

    def parts_after(self, step: int, total: int, places: int) -> int | None:
        first, last = self.rank * places, self.budget * places
        warm_up, final = int(_WARM_UP * total), total - int(_FINAL * total)
        if step == final:
            return last
        if not warm_up < step < final:
            return None
        left = 1 - (step - warm_up) / (final - warm_up)
        return int((first - last) * left**3 + last)

    def is_settled(self, step: int, total: int) -> bool:
        return step >= total - int(_FINAL * total)

    def keep(self, p: Params, mask: Tensor) -> None:
        p["mask"].copy_(mask)
        p["e"].mul_(mask)

    def finished(self) -> LowRank:
        return LowRank(self.rank, self.scale)

    def finish(self, p: Params) -> Params:
        return {"a": p["e"].unsqueeze(-1) * p["q"], "b": p["p"]}
