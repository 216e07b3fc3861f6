"""WavLM (Chen et al. 2022): HuBERT whose attention has a position bias, which the content of each token gates.

The bias is a number for each head and each distance between two tokens; all layers share it. A gate of each layer
scales it by what the layer's attention reads. Tokens of a prompt stand before those of the clip; the keys of a prefix
have no place, and no bias.

The stock attention reads the weights of its linear maps itself, so that an adapter at one of them would not act. While
nothing acts inside attention the stock module runs; otherwise `BiasedHeads` computes the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from cl_ast.backbone.families.speech_encoder import RENAMED, SpeechEncoder
from cl_ast.backbone.sites import HeadsSite, Shape, Site

# Once the sites are wrapped, the stock attention is one level deeper for each wrapper.
_ATTENTION = r"^encoder\.layers\.(\d+)\.attention\.(?:stock\.)*"


class PositionBias:
    """The position bias of one run through the layers, which is computed once for each number of tokens."""

    def __init__(self, attention: Any) -> None:
        """
        Args:
            attention: the stock attention of the first layer, which has the table of the bias.
        """
        self._attention = attention
        self._made: dict[tuple[int, int], Tensor] = {}

    def of(self, batch: int, tokens: int) -> Tensor:
        """Return the bias as the stock layers take it: (batch · heads, tokens, tokens)."""
        if (batch, tokens) not in self._made:
            bias = self._attention.compute_bias(tokens, tokens)
            self._made[batch, tokens] = bias.repeat(batch, 1, 1)
        return self._made[batch, tokens]


class BiasedHeads(HeadsSite):
    """The attention module of WavLM."""

    def forward(self, x: Tensor, *rest: object, **options: object) -> object:
        bias = options.pop("position_bias")
        assert isinstance(bias, PositionBias)
        batch, tokens, _ = x.shape
        ready = bias.of(batch, tokens)
        if self.act is None and all(site.act is None for site in self.linear_maps()):
            return (*self.stock(x, *rest, position_bias=ready, **options)[:2], bias)
        return self.attend(x, self._gated(x, ready.view(batch, -1, tokens, tokens))), None, bias

    def _gated(self, x: Tensor, bias: Tensor) -> Tensor:
        """Return the bias (batch, heads, n, n), scaled by the gate of this layer for its input x (batch, n, width)."""
        batch, tokens, _ = x.shape
        own = x.reshape(batch, tokens, self.stock.num_heads, -1).transpose(1, 2)
        sums = self.stock.gru_rel_pos_linear(own).view(batch, -1, tokens, 2, 4).sum(-1)
        update, reset = torch.sigmoid(sums).chunk(2, dim=-1)
        gated: Tensor = (update * (reset * self.stock.gru_rel_pos_const - 1) + 2) * bias
        return gated


@dataclass(frozen=True, slots=True)
class WavLM(SpeechEncoder):
    """The family of `WavLMModel`."""

    kind: ClassVar[str] = "wavlm"
    title: ClassVar[str] = "WavLM"
    stock: ClassVar[str] = "WavLMModel"
    attention: ClassVar[str] = "eager"
    heads_site: ClassVar[type[HeadsSite]] = BiasedHeads
    reads_attention_weights: ClassVar[bool] = True
    renamed: ClassVar[Sequence[tuple[str, str]]] = (
        *RENAMED,
        (_ATTENTION + r"rel_attn_embed\.weight$", r"embed.distance"),
        (_ATTENTION + r"gru_rel_pos_const$", r"layers.\1.gate.scale"),
        (_ATTENTION + r"gru_rel_pos_linear\.", r"layers.\1.gate."),
    )

    # `super` without arguments does not work in a dataclass with slots.

    def shape(self, model: Any) -> Shape:
        heads = model.config.num_attention_heads
        gate = 8 * (model.config.hidden_size // heads + 1) + heads
        return replace(SpeechEncoder.shape(self, model), gate=gate)

    def output_settings(self, config: Any) -> str:
        return f"{SpeechEncoder.output_settings(self, config)} distance={config.max_bucket_distance}"

    def layer_options(self, model: Any) -> Mapping[str, object]:
        attention = self.layers(model)[0].attention
        while isinstance(attention, Site):
            attention = attention.stock
        return {"position_bias": PositionBias(attention)}
