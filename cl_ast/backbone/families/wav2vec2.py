"""Wav2Vec 2.0 (Baevski et al. 2020): samples through convolutions, then layers; no special tokens.

Two variants, told apart by the configuration. The base model is post-norm: each LayerNorm follows its block's
residual sum, and nothing follows the last layer. The "stable layer norm" one (large, XLSR) is pre-norm, as AST is.
Either way `norm_mhsa` is the LayerNorm of the attention block and `norm_ffn` that of the FFN block.

Masking, dropout and layer drop belong to pretraining and never act here. There is no attention mask: clips are cut or
zero-padded to the task's length, as for AST, and the padding is heard as silence (docs/architecture.md).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from cl_ast.audio.front_ends import FrontEnd
from cl_ast.audio.raw_samples import WaveformFrontEnd
from cl_ast.audio.reading import SAMPLE_RATE
from cl_ast.backbone.sites import Paths, Shape
from cl_ast.errors import BackboneError

# Convolved at once: the first map is a hundred times as large as its samples, so whole batches of long clips would
# take gigabytes.
_BLOCK = 20 * SAMPLE_RATE
# A weight-normed convolution has its weight as magnitudes and directions (Salimans & Kingma 2016).
_RENAMED = (
    (r"^feature_extractor\.conv_layers\.(\d+)\.conv\.", r"embed.conv.\1."),
    (r"^feature_extractor\.conv_layers\.(\d+)\.layer_norm\.", r"embed.conv.\1.norm."),
    (r"^feature_projection\.layer_norm\.", "embed.project.norm."),
    (r"^feature_projection\.projection\.", "embed.project."),
    (r"^encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original0$", "embed.position.weight.magnitude"),
    (r"^encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original1$", "embed.position.weight.direction"),
    (r"^encoder\.pos_conv_embed\.conv\.", "embed.position."),
)


@dataclass(frozen=True, slots=True)
class Wav2Vec2:
    """`Wav2Vec2Model`.

    Attributes:
        normalise: whether the checkpoint was trained on clips of zero mean and unit variance.
    """

    title: ClassVar[str] = "Wav2Vec 2.0"
    sites: ClassVar[Paths] = {
        "layer": "",
        "norm_mhsa": "layer_norm",
        "mhsa": "attention",
        "heads": "attention",  # inside it, between its linear maps
        "q": "attention.q_proj",
        "k": "attention.k_proj",
        "v": "attention.v_proj",
        "o": "attention.out_proj",
        "norm_ffn": "final_layer_norm",
        "ffn": "feed_forward",
        "fc1": "feed_forward.intermediate_dense",
        "fc2": "feed_forward.output_dense",
    }
    special: ClassVar[int] = 0
    # As the papers' code has it, and transformers' own recipes: the convolutions stay as they are.
    frozen: ClassVar[tuple[str, ...]] = ("embed.conv.",)
    # What masked, quantised, transcribed or classified; and the stand-in for masked frames.
    unneeded: ClassVar[tuple[str, ...]] = (
        "quantizer.",
        "project_q.",
        "project_hid.",
        "lm_head.",
        "projector.",
        "classifier.",
        "masked_spec_embed",
    )
    front_end_class: ClassVar[type[FrontEnd]] = WaveformFrontEnd
    normalise: bool = True

    def model_class(self) -> Any:
        try:
            from transformers import Wav2Vec2Model
        except (ImportError, OSError, RuntimeError) as error:
            raise BackboneError(f"transformers cannot load its Wav2Vec 2.0 model: {error}") from error
        return Wav2Vec2Model

    def with_front_end_of(self, place: str, name: str) -> "Wav2Vec2":
        """As the checkpoint's `preprocessor_config.json` says; without one, as the published ones were trained."""
        from transformers import Wav2Vec2FeatureExtractor

        try:
            said = Wav2Vec2FeatureExtractor.from_pretrained(place)
        except (OSError, ValueError):
            return replace(self, normalise=True)
        if said.sampling_rate != SAMPLE_RATE:
            raise BackboneError(
                f"the backbone {name} takes {said.sampling_rate} samples a second; the front end makes {SAMPLE_RATE}"
            )
        return replace(self, normalise=bool(said.do_normalize))

    def refusal(self, config: Any) -> str:
        if config.add_adapter or getattr(config, "adapter_attn_dim", None):
            return "has adapters of its own, which shorten or change its output"
        return ""

    def shape(self, model: Any) -> Shape:
        config = model.config
        return Shape(
            config.hidden_size,
            config.num_hidden_layers,
            config.intermediate_size,
            config.layer_norm_eps,
            final_norm=config.do_stable_layer_norm,
            frozen=sum(parameter.numel() for parameter in model.feature_extractor.parameters()),
        )

    def layers(self, model: Any) -> Sequence[Any]:
        layers: Sequence[Any] = model.encoder.layers
        return layers

    def stem(self, model: Any) -> Mapping[str, str]:
        last = "norm." if model.config.do_stable_layer_norm else "embed.norm."
        renamed = (*_RENAMED, (r"^encoder\.layer_norm\.", last))
        found: dict[str, str] = {}
        for path, _ in model.named_parameters():
            for pattern, name in renamed:
                ours, hit = re.subn(pattern, name, path)
                if hit:
                    found[ours] = path
                    break
        return found

    def decisive(self, config: Any) -> str:
        return (
            f"wav2vec2 heads={config.num_attention_heads} eps={config.layer_norm_eps} act={config.hidden_act} "
            f"conv={config.feat_extract_activation},{config.feat_extract_norm} stride={list(config.conv_stride)} "
            f"stable={config.do_stable_layer_norm} normalise={self.normalise}"
        )

    def front_end(self, seconds: float) -> WaveformFrontEnd:
        return WaveformFrontEnd.for_seconds(seconds, normalise=self.normalise)

    def embed(self, model: Any, features: Tensor, positions: str) -> Tensor:
        """Samples (batch, n), at least the convolutions' reach, to tokens (batch, m, width)."""
        samples, least = features.shape[1], reach(model.config)
        if samples < least:
            raise BackboneError(f"{samples} samples are fewer than the {least} of one token; pad the clip first")
        rows = max(1, _BLOCK // samples)
        parts = [features[start : start + rows] for start in range(0, len(features), rows)]
        heard = torch.cat([model.feature_extractor(part) for part in parts]).transpose(1, 2)
        tokens: Tensor = model.feature_projection(heard)[0]
        if positions != "zeros":
            tokens = tokens + model.encoder.pos_conv_embed(tokens)
        return tokens if model.config.do_stable_layer_norm else model.encoder.layer_norm(tokens)

    def norm(self, model: Any, tokens: Tensor) -> Tensor:
        return model.encoder.layer_norm(tokens) if model.config.do_stable_layer_norm else tokens


def reach(config: Any) -> int:
    """How many samples one token is made of."""
    samples = 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples
