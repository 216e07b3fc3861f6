"""Wav2Vec 2.0 (Baevski et al. 2020): raw samples go through convolutions and then layers; no special tokens.

The configuration says which of two variants a model is. The base model is post-norm: each LayerNorm follows its
block's residual sum, and none follows the last layer. The "stable layer norm" variant (large, XLSR) is pre-norm, like
AST. In both, `norm_mhsa` is the LayerNorm of the attention block and `norm_ffn` that of the FFN block.

Masking, dropout and layer drop are only used in pretraining, never here. There is no attention mask: clips are cut or
zero-padded to the task's length, as for AST, and the model takes the padding for silence (docs/architecture.md).
"""

import math
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

# The most samples that are convolved at once. The output of the first convolution is a hundred times as large as its
# input, so whole batches of long clips would take gigabytes.
_BLOCK = 20 * SAMPLE_RATE
# A weight-normed convolution stores its weight as magnitudes and directions (Salimans & Kingma 2016).
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
    """The family of `Wav2Vec2Model`.

    Attributes:
        normalise: whether the checkpoint was trained on clips of zero mean and unit variance.
    """

    title: ClassVar[str] = "Wav2Vec 2.0"
    sites: ClassVar[Paths] = {
        "layer": "",
        "norm_mhsa": "layer_norm",
        "mhsa": "attention",
        "heads": "attention",  # the same module, at the point between its linear maps
        "q": "attention.q_proj",
        "k": "attention.k_proj",
        "v": "attention.v_proj",
        "o": "attention.out_proj",
        "norm_ffn": "final_layer_norm",
        "ffn": "feed_forward",
        "fc1": "feed_forward.intermediate_dense",
        "fc2": "feed_forward.output_dense",
    }
    special_tokens: ClassVar[int] = 0
    # The papers' code and the examples of transformers do not train the convolutions either.
    frozen: ClassVar[tuple[str, ...]] = ("embed.conv.",)
    # The heads of pretraining, transcription and classification, and the vector that replaces masked frames.
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

    def with_checkpoint_settings(self, place: str, name: str) -> "Wav2Vec2":
        """Read `normalise` from `preprocessor_config.json`; True without one, as for the published checkpoints."""
        from transformers import Wav2Vec2FeatureExtractor

        try:
            extractor = Wav2Vec2FeatureExtractor.from_pretrained(place)
        except (OSError, ValueError):
            return replace(self, normalise=True)
        if extractor.sampling_rate != SAMPLE_RATE:
            raise BackboneError(
                f"the backbone {name} takes {extractor.sampling_rate} samples a second; the front end makes "
                f"{SAMPLE_RATE}; use another backbone"
            )
        return replace(self, normalise=bool(extractor.do_normalize))

    def unsupported_because(self, config: Any) -> str:
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

    def outer_tensors(self, model: Any) -> Mapping[str, str]:
        last = "norm." if model.config.do_stable_layer_norm else "embed.norm."
        renamed = (*_RENAMED, (r"^encoder\.layer_norm\.", last))
        found: dict[str, str] = {}
        for path, _ in model.named_parameters():
            for pattern, name in renamed:
                ours, matches = re.subn(pattern, name, path)
                if matches:
                    found[ours] = path
                    break
        return found

    def output_settings(self, config: Any) -> str:
        return (
            f"wav2vec2 heads={config.num_attention_heads} eps={config.layer_norm_eps} act={config.hidden_act} "
            f"conv={config.feat_extract_activation},{config.feat_extract_norm} stride={list(config.conv_stride)} "
            f"stable={config.do_stable_layer_norm} normalise={self.normalise}"
        )

    def front_end(self, seconds: float) -> WaveformFrontEnd:
        return WaveformFrontEnd.for_seconds(seconds, normalise=self.normalise)

    def time_step(self, config: Any) -> int:
        return math.prod(config.conv_stride)

    def rows(self, config: Any) -> int:
        return 1

    def embed(self, model: Any, features: Tensor, positions: str) -> Tensor:
        """Turn samples (batch, n), enough for one token, into tokens (batch, m, width)."""
        samples, least = features.shape[1], samples_per_token(model.config)
        if samples < least:
            raise BackboneError(f"{samples} samples are fewer than the {least} of one token; pad the clip first")
        rows = max(1, _BLOCK // samples)
        parts = [features[start : start + rows] for start in range(0, len(features), rows)]
        features = torch.cat([model.feature_extractor(part) for part in parts]).transpose(1, 2)
        tokens: Tensor = model.feature_projection(features)[0]
        if positions != "zeros":
            tokens = tokens + model.encoder.pos_conv_embed(tokens)
        return tokens if model.config.do_stable_layer_norm else model.encoder.layer_norm(tokens)

    def norm(self, model: Any, tokens: Tensor) -> Tensor:
        return model.encoder.layer_norm(tokens) if model.config.do_stable_layer_norm else tokens


def samples_per_token(config: Any) -> int:
    """Return how many samples one token is computed from."""
    samples = 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples
