"""The sites of a layer: what they are called, what acts there, and the thin modules that let it.

A site is wrapped once, when the backbone is loaded; while nothing is attached the wrapper hands its input on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

SITES = ("layer", "norm_mhsa", "mhsa", "heads", "q", "k", "v", "o", "norm_ffn", "ffn", "fc1", "fc2")
# The sites that own the layer's weights.
LEAVES = ("norm_mhsa", "q", "k", "v", "o", "norm_ffn", "fc1", "fc2")
Paths = Mapping[str, str]
"""Where each site lies in a layer of one family of backbones: its submodule's path (`cl_ast/backbones/`)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a backbone that decide how large an adapter is.

    Attributes:
        final_norm: whether a LayerNorm follows the last layer; a task's head then starts with one of its own.
        frozen: how many numbers of the backbone even full fine-tuning leaves as they are.
    """

    width: int = 768
    depth: int = 12
    hidden: int = 3072
    norm_eps: float = 1e-12
    final_norm: bool = True
    frozen: int = 0

    def of(self, site: str) -> tuple[int, int]:
        """Input and output width of a site."""
        return {"fc1": (self.width, self.hidden), "fc2": (self.hidden, self.width)}.get(site, (self.width, self.width))


AST_BASE = Shape()

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

    def __init__(self, stock: Any, maps: Sequence[str]) -> None:
        """`maps`: what the stock module calls its linear maps q, k, v and o."""
        super().__init__(stock)
        self.maps = tuple(maps)

    def forward(self, x: Tensor, *rest: object, **options: object) -> object:
        if self.act is None:
            return self.stock(x, *rest, **options)
        q, k, v, o = (getattr(self.stock, name) for name in self.maps)
        batch, tokens, _ = x.shape

        def split(value: Tensor) -> Tensor:
            return value.view(batch, tokens, -1, self.stock.head_dim).transpose(1, 2)

        heads = self.act(_attention, Heads(split(q(x)), split(k(x)), split(v(x))))
        return o(heads.transpose(1, 2).reshape(batch, tokens, -1)), None


def _attention(x: Heads) -> Tensor:
    return F.scaled_dot_product_attention(x.q, x.k, x.v)


def wrap(layer: Any, paths: Paths) -> dict[str, Site]:
    """Wrap every site of a stock layer in place, and say where each is now.

    The layer itself stays where it is in the model: who runs it goes through its site.
    """
    found: dict[str, Site] = {}
    for site in sorted(paths, key=lambda one: _order(one, paths)):
        if site == "layer":
            found[site] = Site(layer).eval()
            continue
        parent, _, child = paths[site].rpartition(".")
        owner = layer.get_submodule(parent)
        stock = getattr(owner, child)
        maps = [paths[one].rpartition(".")[2] for one in ("q", "k", "v", "o")]
        found[site] = (HeadsSite(stock, maps) if site == "heads" else Site(stock)).eval()
        setattr(owner, child, found[site])
    return found


def _order(site: str, paths: Paths) -> tuple[int, bool]:
    """Leaves first, since wrapping a block does not change how its own leaves are reached; then what is inside
    attention before attention as a whole."""
    return -paths[site].count("."), site != "heads"
