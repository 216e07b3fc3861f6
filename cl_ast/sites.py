"""The sites of a layer: what they are called, what acts there, and the thin modules that let it.

A site is wrapped once, when the trunk is loaded; while nothing is attached the wrapper hands its input on.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

# Submodule names of a transformers AST layer, in one place: they differ between releases and from the checkpoints.
SITES: Mapping[str, str] = {
    "layer": "",
    "norm_mhsa": "layernorm_before",
    "mhsa": "attention",
    "heads": "attention",  # inside it, between its linear maps
    "q": "attention.q_proj",
    "k": "attention.k_proj",
    "v": "attention.v_proj",
    "o": "attention.o_proj",
    "norm_ffn": "layernorm_after",
    "ffn": "mlp",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}
# The sites that own the layer's weights.
LEAVES = ("norm_mhsa", "q", "k", "v", "o", "norm_ffn", "fc1", "fc2")

Act = Callable[[Callable[[Any], Tensor], Any], Tensor]
"""What an adapter does at a site: (the stock module as a function, its input) -> its output.

The input is a Tensor (batch, tokens, width), and at the site "heads" a `Heads`.
"""


class Heads(NamedTuple):
    """What attention is computed from: q (batch, heads, n, d), k and v (batch, heads, m, d)."""

    q: Tensor
    k: Tensor
    v: Tensor


class Site(nn.Module):
    """A stock module at which an adapter may act."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.stock: Any = stock
        self.act: Act | None = None

    def forward(self, x: Tensor, *rest: object, **options: object) -> object:
        if self.act is None:
            return self.stock(x, *rest, **options)
        extra: list[object] = []

        def run(value: Tensor) -> Tensor:
            out = self.stock(value, *rest, **options)
            if isinstance(out, tuple):  # attention also returns its weights
                extra.extend(out[1:])
                out = out[0]
            hidden: Tensor = out
            return hidden

        result = self.act(run, x)
        return (result, *extra) if extra else result


class HeadsSite(Site):
    """Attention, opened between its linear maps while something acts there; the stock module otherwise."""

    def forward(self, x: Tensor, *rest: object, **options: object) -> object:
        if self.act is None:
            return self.stock(x, *rest, **options)
        names = [SITES[site].rpartition(".")[2] for site in ("q", "k", "v", "o")]
        q, k, v, o = (getattr(self.stock, name) for name in names)
        batch, tokens, _ = x.shape

        def split(value: Tensor) -> Tensor:
            return value.view(batch, tokens, -1, self.stock.head_dim).transpose(1, 2)

        heads = self.act(_attention, Heads(split(q(x)), split(k(x)), split(v(x))))
        return o(heads.transpose(1, 2).reshape(batch, tokens, -1)), None


def _attention(x: Heads) -> Tensor:
    return F.scaled_dot_product_attention(x.q, x.k, x.v)


def wrapping_order(site: str) -> tuple[int, bool]:
    """Deeper modules first, and what is inside attention before attention as a whole."""
    return -SITES[site].count("."), site != "heads"
