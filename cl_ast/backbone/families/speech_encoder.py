"""What Wav2Vec 2.0 and its relatives share: raw samples go through convolutions and then layers; no special tokens.

HuBERT, UniSpeech, UniSpeech-SAT, data2vec-audio and WavLM were trained for other goals, but are built alike; each has a
file beside this one, which says what it does otherwise.

The configuration says which of two variants a model is. The base model is post-norm: each LayerNorm follows its
block's residual sum, and none follows the last layer. The "stable layer norm" variant (large, XLSR) is pre-norm, like
AST. In both, `norm_mhsa` is the LayerNorm of the attention block and `norm_ffn` that of the FFN block.

Masking, dropout and layer drop are only used in pretraining, never here. There is no attention mask: clips are cut or
zero-padded to the task's length, as for AST, and the model takes the padding for silence (docs/design-notes.md).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from cl_ast.audio.front_ends import FrontEnd
from cl_ast.audio.raw_samples import WaveformFrontEnd
from cl_ast.audio.reading import SAMPLE_RATE
from cl_ast.backbone.sites import HeadsSite, Paths, Shape
from cl_ast.errors import BackboneError

# The most samples that are convolved at once. The output of the first convolution is a hundred times as large as its
# input, so whole batches of long clips would take gigabytes.
_BLOCK = 20 * SAMPLE_RATE
# A weight-normed convolution stores its weight as magnitudes and directions (Salimans & Kingma 2016).
RENAMED = (
    (r"^feature_extractor\.conv_layers\.(\d+)\.conv\.", r"embed.conv.\1."),
    (r"^feature_extractor\.conv_layers\.(\d+)\.layer_norm\.", r"embed.conv.\1.norm."),
    (r"^feature_projection\.layer_norm\.", "embed.project.norm."),
    (r"^feature_projection\.projection\.", "embed.project."),
    (r"^encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original0$", "embed.position.weight.magnitude"),
    (r"^encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original1$", "embed.position.weight.direction"),
    (r"^encoder\.pos_conv_embed\.conv\.", "embed.position."),
)


@dataclass(frozen=True, slots=True)
class SpeechEncoder:
    """A family of encoders of waveforms, whose stock modules have the same names inside in all of these families.

    Attributes:
        stock: the name of the stock class.
        reads_attention_weights: whether its attention reads the weights of its linear maps and does not call them.
        renamed: patterns of the paths of tensors outside the layers, and our names for them.
        normalise: whether the checkpoint was trained on clips of zero mean and unit variance.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    stock: ClassVar[str]
    attention: ClassVar[str] = "sdpa"
    heads_site: ClassVar[type[HeadsSite]] = HeadsSite
    reads_attention_weights: ClassVar[bool] = False
    renamed: ClassVar[Sequence[tuple[str, str]]] = RENAMED
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
    embedding: ClassVar[str] = "embed.project"
    special_tokens: ClassVar[int] = 0
    # The papers' code and the examples of transformers do not train the convolutions either.
    frozen: ClassVar[tuple[str, ...]] = ("embed.conv.",)
    # The heads of pretraining, transcription, classification and speaker verification, and the vector that replaces
    # masked frames.
    unneeded: ClassVar[tuple[str, ...]] = (
        "quantizer.",
        "project_q.",
        "project_hid.",
        "ctc_proj.",
        "speaker_proj.",
        "layer_norm_for_extract.",
        "label_embeddings_concat",
        "lm_head.",
        "layer_weights",
        "projector.",
        "classifier.",
        "tdnn.",
        "feature_extractor.weight",
        "feature_extractor.bias",
        "objective.",
        "masked_spec_embed",
    )
    front_end_class: ClassVar[type[FrontEnd]] = WaveformFrontEnd
    normalise: bool = True

    def model_class(self) -> Any:
        import transformers

        try:
            return getattr(transformers, self.stock)
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            raise BackboneError(f"transformers cannot load its {self.title} model: {error}") from error

    def with_checkpoint_settings(self, place: str, name: str) -> Self:
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
        if getattr(config, "add_adapter", False) or getattr(config, "adapter_attn_dim", None):
            return "has adapters of its own, which shorten or change its output"
        if getattr(config, "conv_pos_batch_norm", False):
            return "has a batch norm before its positions, whose running statistics are not weights"
        return ""

    def shape(self, model: Any) -> Shape:
        config = model.config
        return Shape(
            config.hidden_size,
            config.num_hidden_layers,
            config.intermediate_size,
            config.layer_norm_eps,
            final_norm=is_pre_norm(config),
            frozen=sum(parameter.numel() for parameter in model.feature_extractor.parameters()),
        )

    def layers(self, model: Any) -> Sequence[Any]:
        layers: Sequence[Any] = model.encoder.layers
        return layers

    def outer_tensors(self, model: Any) -> Mapping[str, str]:
        last = "norm." if is_pre_norm(model.config) else "embed.norm."
        renamed = (*self.renamed, (r"^encoder\.layer_norm\.", last))
        found: dict[str, str] = {}
        for path, _ in model.named_parameters():
            for pattern, name in renamed:
                ours, matches = re.subn(pattern, name, path)
                if matches:
                    found[ours] = path
                    break
        return found

    def output_settings(self, config: Any) -> str:
        # data2vec-audio has no choice of the convolutions' norm, which is a LayerNorm.
        norm = getattr(config, "feat_extract_norm", "layer")
        return (
            f"{self.kind} heads={config.num_attention_heads} eps={config.layer_norm_eps} act={config.hidden_act} "
            f"conv={config.feat_extract_activation},{norm} stride={list(config.conv_stride)} "
            f"stable={is_pre_norm(config)} normalise={self.normalise}"
        )

    def front_end(self, seconds: float) -> WaveformFrontEnd:
        return WaveformFrontEnd.for_seconds(seconds, normalise=self.normalise)

    def time_step(self, config: Any) -> int:
        return math.prod(config.conv_stride)

    def rows(self, config: Any) -> int:
        return 1

    def tokenise(self, model: Any, features: Tensor) -> Tensor:
        """Turn samples (batch, n), enough for one token, into tokens (batch, m, width)."""
        samples, least = features.shape[1], samples_per_token(model.config)
        if samples < least:
            raise BackboneError(f"{samples} samples are fewer than the {least} of one token; pad the clip first")
        if torch.compiler.is_exporting():  # a graph has no loop
            return _projected(model, model.feature_extractor(features))
        rows = max(1, _BLOCK // samples)
        parts = [features[start : start + rows] for start in range(0, len(features), rows)]
        return _projected(model, torch.cat([model.feature_extractor(part) for part in parts]))

    def with_positions(self, model: Any, tokens: Tensor, length: int, positions: str) -> Tensor:
        if positions != "zeros":
            tokens = tokens + model.encoder.pos_conv_embed(tokens)
        normed: Tensor = tokens if is_pre_norm(model.config) else model.encoder.layer_norm(tokens)
        return normed

    def layer_options(self, model: Any) -> Mapping[str, object]:
        return {}

    def norm(self, model: Any, tokens: Tensor) -> Tensor:
        return model.encoder.layer_norm(tokens) if is_pre_norm(model.config) else tokens


def is_pre_norm(config: Any) -> bool:
    """Return whether a model is of the "stable layer norm" variant; data2vec-audio has none."""
    return bool(getattr(config, "do_stable_layer_norm", False))


def samples_per_token(config: Any) -> int:
    """Return how many samples one token is computed from."""
    samples = 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples


def _projected(model: Any, features: Tensor) -> Tensor:
    """Return tokens (batch, m, width) of the feature extractor's output (batch, channels, m)."""
    projected = model.feature_projection(features.transpose(1, 2))
    tokens: Tensor = projected[0] if isinstance(projected, tuple) else projected  # HuBERT's is not in a tuple
    return tokens
