"""The sites of a layer: their names, and the thin modules at which an adapter can act.

A site is wrapped once, when the backbone is loaded. While no adapter is attached, the wrapper only calls the stock
module.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

SITES = ("layer", "norm_mhsa", "mhsa", "heads", "q", "k", "v", "o", "norm_ffn", "ffn", "fc1", "fc2")
# The sites whose own modules hold the layer's weights.
LEAVES = ("norm_mhsa", "q", "k", "v", "o", "norm_ffn", "fc1", "fc2")
# The site before the layers: from features to the tokens of the sound, to which positions are then added. It belongs to
# layer 0, and has a weight of its own, which is last there.
EMBEDDING = "embedding"
Paths = Mapping[str, str]
"""The path of each site's submodule inside a layer, for one family of backbones (`cl_ast/backbone/families`)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a backbone on which the size of an adapter depends; AST-base's by default.

    Attributes:
        width: the width of a token.
        depth: the number of layers.
        hidden: the hidden width of the FFN.
        norm_eps: the epsilon of its LayerNorms.
        final_norm: whether a LayerNorm follows the last layer; a task's head then begins with its own LayerNorm.
        frozen: how many parameters of the backbone even full fine-tuning does not train.
        gate: how many parameters the gate of a layer's position bias has; WavLM's layers have one.
    """

    width: int = 768
    depth: int = 12
    hidden: int = 3072
    norm_eps: float = 1e-12
    final_norm: bool = True
    frozen: int = 0
    gate: int = 0

    @property
    def layer_parameters(self) -> int:
        """How many parameters a layer has: four maps of attention, two of the FFN, two LayerNorms, and the gate."""
        attention = 4 * (self.width + 1) * self.width
        ffn = (self.width + 1) * self.hidden + (self.hidden + 1) * self.width
        return attention + ffn + 4 * self.width + self.gate

    def of(self, site: str) -> tuple[int, int]:
        """Return the input and the output width of a site."""
        return {"fc1": (self.width, self.hidden), "fc2": (self.hidden, self.width)}.get(site, (self.width, self.width))


AST_BASE = Shape()

Act = Callable[[Callable[[Any], Tensor], Any], Tensor]
"""The function that an adapter runs at a site: (the stock module as a function, its input) -> its output.

The input is a Tensor (batch, tokens, width), except that at the site "heads" it is a `Heads`.
"""


class Heads(NamedTuple):
    """The inputs of attention: queries q (batch, heads, n, d), keys k and values v (batch, heads, m, d).

    Attributes:
        bias: what is added to the scores of the last n keys (batch, heads, n, n); None adds nothing.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    bias: Tensor | None = None

    def rows(self, rows: slice) -> "Heads":
        """Return the inputs of some rows of the batch."""
        bias = None if self.bias is None else self.bias[rows]
        return Heads(self.q[rows], self.k[rows], self.v[rows], bias)


class Site(nn.Module):
    """A stock module at which an adapter may act."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.stock: Any = stock
        self.act: Act | None = None

    @property
    def weight(self) -> Tensor:
        """The stock module's weight, for a stock module around this one that reads it."""
        weight: Tensor = self.stock.weight
        return weight

    @property
    def bias(self) -> Tensor:
        """The stock module's bias."""
        bias: Tensor = self.stock.bias
        return bias

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
    """The attention module; while an adapter acts there, attention is computed here, between its linear maps."""

    def __init__(self, stock: Any, maps: Sequence[str]) -> None:
        """
        Args:
            maps: the stock module's names for its linear maps q, k, v and o.
        """
        super().__init__(stock)
        self.maps = tuple(maps)

    def forward(self, x: Tensor, *rest: object, **options: object) -> object:
        if self.act is None:
            return self.stock(x, *rest, **options)
        return self.attend(x), None

    def linear_maps(self) -> tuple[Any, ...]:
        """Return the sites q, k, v and o, in this order."""
        return tuple(getattr(self.stock, name) for name in self.maps)

    def attend(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Compute the attention of x (batch, n, width) with what acts there.

        Args:
            bias: what is added to the scores (batch, heads, n, n).
        """
        q, k, v, o = self.linear_maps()
        batch, tokens, _ = x.shape

        def split(value: Tensor) -> Tensor:
            return value.view(batch, tokens, -1, self.stock.head_dim).transpose(1, 2)

        heads = Heads(split(q(x)), split(k(x)), split(v(x)), bias)
        out = _attention(heads) if self.act is None else self.act(_attention, heads)
        attended: Tensor = o(out.transpose(1, 2).reshape(batch, tokens, -1))
        return attended


def _attention(x: Heads) -> Tensor:
    if x.bias is None:
        return F.scaled_dot_product_attention(x.q, x.k, x.v)
    unbiased = x.k.shape[2] - x.bias.shape[-1]  # the keys of a prefix, which come first
    bias = F.pad(x.bias, (unbiased, 0)).to(x.q.dtype)
    return F.scaled_dot_product_attention(x.q, x.k, x.v, attn_mask=bias)


def wrap(layer: Any, paths: Paths, heads_site: type[HeadsSite] = HeadsSite) -> dict[str, Site]:
    """Wrap every site of a stock layer in place, and return the wrapped sites by name.

    The layer itself stays in the model as it is; `Backbone.run` calls its wrapper instead.

    Args:
        heads_site: the wrapper of the attention module.
    """
    found: dict[str, Site] = {}
    for site in sorted(paths, key=lambda one: _wrapping_order(one, paths)):
        if site == "layer":
            found[site] = Site(layer).eval()
            continue
        parent, _, child = paths[site].rpartition(".")
        owner = layer.get_submodule(parent)
        stock = getattr(owner, child)
        maps = [paths[one].rpartition(".")[2] for one in ("q", "k", "v", "o")]
        found[site] = (heads_site(stock, maps) if site == "heads" else Site(stock)).eval()
        setattr(owner, child, found[site])
    return found


def _wrapping_order(site: str, paths: Paths) -> tuple[int, bool]:
    """Return a sort key that puts inner modules first.

    Wrapping an outer module adds a level to the paths of the modules inside it. "heads" comes before "mhsa", which has
    the same path, so that the wrapper of the whole attention block is the outer one.
    """
    return -paths[site].count("."), site != "heads"
