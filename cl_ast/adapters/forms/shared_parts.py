"""Forms that compute with a shared part: tensors that several tasks share, trained once and then frozen.

A task learns a few numbers of its own. Together with the shared tensors they make the tensors of an ordinary form, as
which the task then acts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.forms.base import Fresh, Params, Weight
from cl_ast.adapters.forms.bottleneck import Bottleneck
from cl_ast.adapters.forms.weights import LowRank
from cl_ast.errors import MethodError

_EMBEDDING = 64  # numbers in e_task and in e_place
_NEARLY_EQUAL = 10**6  # as `fan_in`: the logits start within 0.001 of zero, so that no two skills stay the same


@dataclass(frozen=True, slots=True)
class SkillMixture:
    """A low-rank update whose A and B are means of S skills: Σ_s Ẑ_s A_s and Σ_s Ẑ_s B_s, Ẑ = σ(Z) / Σ_s σ(Z_s).

    Poly (Ponti et al. 2023) and, with several heads, MHR (Caccia et al. 2023), as microsoft/mttl computes them. The
    skills are shared, and Z (heads, S) is a task's own. Each head mixes its part of the inputs of A and of the outputs
    of B. The update is x A B / r.
    """

    label: ClassVar[str] = "skills"
    fresh: ClassVar[Fresh] = "other"
    rank: int
    skills: int
    heads: int = 1

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {"z": Weight((self.heads, self.skills), "uniform", _NEARLY_EQUAL, single=True)}

    def shared(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        heads, skills, rank = self.heads, self.skills, self.rank
        if width_in % heads or width_out % heads:
            raise MethodError(f"mhr: h={heads} heads must divide the widths {width_in} and {width_out}")
        part_in, part_out = width_in // heads, width_out // heads
        return {
            "a": Weight((heads, skills, rank, part_in), "uniform", part_in, single=True),
            "b": Weight((heads, skills, part_out, rank), single=True),
        }

    @property
    def acting(self) -> LowRank:
        return LowRank(self.rank, 1 / self.rank)

    def expanded(self, p: Params) -> Params:
        weights = torch.sigmoid(p["z"])
        weights = weights / weights.sum(dim=-1, keepdim=True)
        a = torch.einsum("...hs,hsrd->...rhd", weights, p["shared.a"]).flatten(-2)
        b = torch.einsum("...hs,hsdr->...hdr", weights, p["shared.b"]).flatten(-3, -2)
        return {"a": a, "b": b}

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        return self.acting.delta(x, _in_type(self.expanded(p), x.dtype))


@dataclass(frozen=True, slots=True)
class HalfShared:
    """A bottleneck one of whose projections is shared, and the other one a task's own (VL-Adapter, Sung et al. 2022).

    Attributes:
        half: the shared projection, "down" or "up", with its bias.
    """

    label: ClassVar[str] = "half"
    rank: int
    half: Literal["down", "up"] = "down"

    @property
    def fresh(self) -> Fresh:
        return "zero" if self.half == "down" else "other"

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        both = self.acting.weights(width_in, width_out)
        return {name: weight for name, weight in both.items() if not self._is_shared(name)}

    def shared(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        both = self.acting.weights(width_in, width_out)
        return {name: weight for name, weight in both.items() if self._is_shared(name)}

    @property
    def acting(self) -> Bottleneck:
        return Bottleneck(self.rank)

    def expanded(self, p: Params) -> Params:
        return {name.removeprefix("shared."): tensor for name, tensor in p.items()}

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        return self.acting.delta(x, self.expanded(p))

    def _is_shared(self, name: str) -> bool:
        return name.startswith(f"{self.half}.")


@dataclass(frozen=True, slots=True)
class HyperNetwork:
    """A low-rank update whose A and B a shared network makes: (A, B) = W₂ ReLU(W₁ [e_task; e_place] + b).

    Hyperformer (Karimi Mahabadi et al. 2021), with LoRA in place of its bottleneck. The network, and e_place for each
    layer and site, are shared; e_task, 64 numbers for all of them, is a task's own. B starts at zero.
    """

    label: ClassVar[str] = "hyper"
    fresh: ClassVar[Fresh] = "other"
    rank: int
    hidden: int

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {"task": Weight((_EMBEDDING,), "uniform", _EMBEDDING, shared=True, single=True)}

    def shared(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        both, hidden = 2 * _EMBEDDING, self.hidden
        return {
            "place": Weight((_EMBEDDING,), "uniform", _EMBEDDING, single=True),
            "first.weight": Weight((hidden, both), "uniform", both, shared=True, single=True),
            "first.bias": Weight((hidden,), "uniform", both, shared=True, single=True),
            "a": Weight((self.rank, width_in, hidden), "uniform", hidden, shared=True, single=True),
            "b": Weight((width_out, self.rank, hidden), shared=True, single=True),
        }

    @property
    def acting(self) -> LowRank:
        return LowRank(self.rank, 1.0)

    def expanded(self, p: Params) -> Params:
        place = p["shared.place"].expand(p["task"].shape)
        both = torch.cat([p["task"], place], dim=-1)
        made = F.relu(F.linear(both, p["shared.first.weight"], p["shared.first.bias"]))
        return {name: torch.einsum("abk,...k->...ab", p[f"shared.{name}"], made) for name in ("a", "b")}

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        return self.acting.delta(x, _in_type(self.expanded(p), x.dtype))


def _in_type(tensors: Params, dtype: torch.dtype) -> Params:
    """Return tensors in another type. They are expanded in single precision first, as those of a stored task are."""
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}
