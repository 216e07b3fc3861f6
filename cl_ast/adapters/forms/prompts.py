"""Forms with trained tokens, keys or values, and other forms that act inside attention."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.forms.base import Fresh, Params, Weight
from cl_ast.adapters.forms.layers import linear, rows
from cl_ast.backbone.sites import Heads


def _tokens(count: int, width: int) -> Weight:
    """Return tokens that start as in visual prompt tuning: uniform within √(6 / (3·16² + width)) (Jia et al. 2022)."""
    return Weight((count, width), "uniform", (768 + width) // 6)


@dataclass(frozen=True, slots=True)
class Prompt:
    """[P; X]: trained tokens before the layer's input (PETL conformer paper, section 2.2; Jia et al. 2022).

    Attributes:
        instead: whether these replace the prompts of the layer before, which the input begins with (deep prompts).
    """

    label: ClassVar[str] = "prompt"
    fresh: ClassVar[Fresh] = "other"
    count: int
    instead: bool = False

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {"tokens": _tokens(self.count, width_in)}

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        rest = x[:, self.count :] if self.instead else x
        return torch.cat([rows(p["tokens"], x.shape[0]).to(x.dtype), rest], dim=1)


@dataclass(frozen=True, slots=True)
class Prefix:
    """Attn(q, [P_k; K], [P_v; V]) in every head (Li & Liang 2021; He et al. 2022, eq. 5).

    Attributes:
        count: the number of keys and values in all, half of each, as the papers count.
    """

    label: ClassVar[str] = "prefix"
    fresh: ClassVar[Fresh] = "other"
    count: int

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {name: _tokens(self.count // 2, width_in) for name in ("keys", "values")}

    def attend(self, run: Callable[[Heads], Tensor], x: Heads, p: Params) -> Tensor:
        k = torch.cat([split(p["keys"], x), x.k], dim=2)
        v = torch.cat([split(p["values"], x), x.v], dim=2)
        return run(x._replace(k=k, v=v))


@dataclass(frozen=True, slots=True)
class MadePrefix:
    """A prefix that an MLP makes in training: P = tanh(E W_down + b) W_up + b (Li & Liang 2021, section 4.3).

    All layers share the trained tokens E, W_down and its bias; each has a W_up of its own for keys and for values, as
    in the authors' code. Only the prefix is stored.

    Attributes:
        count: as for `Prefix`.
        hidden: the width of the MLP.
    """

    label: ClassVar[str] = "prefix"
    fresh: ClassVar[Fresh] = "other"
    count: int
    hidden: int

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        shared = {
            "tokens": Weight((self.count // 2, width_in), "uniform", 1, shared=True, single=True),
            "down.weight": Weight((self.hidden, width_in), "uniform", width_in, shared=True, single=True),
            "down.bias": Weight((self.hidden,), "uniform", width_in, shared=True, single=True),
        }
        own = {
            f"{name}.{kind}": Weight(shape, "uniform", self.hidden, single=True)
            for name in ("keys", "values")
            for kind, shape in (("weight", (width_in, self.hidden)), ("bias", (width_in,)))
        }
        return {**shared, **own}

    def attend(self, run: Callable[[Heads], Tensor], x: Heads, p: Params) -> Tensor:
        return self.finished().attend(run, x, self.finish(p))

    def finished(self) -> Prefix:
        return Prefix(self.count)

    def finish(self, p: Params) -> Params:
        hidden = torch.tanh(linear(p["tokens"], p["down.weight"], p["down.bias"]))
        return {name: linear(hidden, p[f"{name}.weight"], p[f"{name}.bias"]) for name in ("keys", "values")}


@dataclass(frozen=True, slots=True)
class GatedPrefix:
    """(1 − λ) h + λ softmax(q P_kᵀ) P_v: prefix tuning as an adapter of each head (He et al. 2022, eq. 7 to 9).

    λ is the share of the attention that falls on the prefix. Without the gate (table 4) the form is
    h + softmax(q P_kᵀ) P_v, which can start at zero.
    """

    label: ClassVar[str] = "prefix_adapter"
    count: int
    gated: bool = True

    @property
    def fresh(self) -> Fresh:
        return "other" if self.gated else "zero"

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        tokens = _tokens(self.count // 2, width_in)
        return {"keys": tokens, "values": tokens if self.gated else Weight(tokens.shape)}

    def attend(self, run: Callable[[Heads], Tensor], x: Heads, p: Params) -> Tensor:
        keys, values = split(p["keys"], x), split(p["values"], x)
        delta = F.scaled_dot_product_attention(x.q, keys, values)
        if not self.gated:
            return run(x) + delta
        # Attention with the prefix's keys and with zeros as its values gives (1 − λ) h. A further channel, one for the
        # clip's own values and zero for the prefix, gives 1 − λ in the same pass.
        ones, zeros = torch.ones_like(x.v[..., :1]), torch.zeros_like(values[..., :1])
        v = torch.cat([torch.cat([torch.zeros_like(values), zeros], -1), torch.cat([x.v, ones], -1)], dim=2)
        scaled = run(x._replace(k=torch.cat([keys, x.k], dim=2), v=v))
        return scaled[..., :-1] + (1 - scaled[..., -1:]) * delta


@dataclass(frozen=True, slots=True)
class HeadBottleneck:
    """h + ReLU(q W_down) W_up for each head: the multi-head parallel adapter (He et al. 2022, section 3.3).

    As in `GatedPrefix`, a head reads its own query, so a width of r costs as much as a prefix of r keys and r values.
    """

    label: ClassVar[str] = "multihead"
    fresh: ClassVar[Fresh] = "zero"
    rank: int

    def weights(self, width_in: int, width_out: int) -> Mapping[str, Weight]:
        return {
            "down": Weight((self.rank, width_in), "uniform", width_in),
            "up": Weight((self.rank, width_out)),
        }

    def attend(self, run: Callable[[Heads], Tensor], x: Heads, p: Params) -> Tensor:
        hidden = F.relu(x.q @ split(p["down"], x).mT)
        return run(x) + hidden @ split(p["up"], x)


def split(tokens: Tensor, x: Heads) -> Tensor:
    """Split tokens (n, width) or (batch, n, width) into heads (batch, heads, n, d), in the type of the queries."""
    batch, heads, _, size = x.q.shape
    return rows(tokens, batch).to(x.q.dtype).reshape(batch, -1, heads, size).transpose(1, 2)
