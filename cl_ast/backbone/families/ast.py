"""The Audio Spectrogram Transformer (Gong et al. 2021): log-mel patches, pre-norm layers, two special tokens."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.audio.front_ends import FrontEnd
from cl_ast.audio.log_mel import BINS, SHIFT, LogMelFrontEnd
from cl_ast.audio.reading import SAMPLE_RATE
from cl_ast.backbone.sites import HeadsSite, Paths, Shape
from cl_ast.errors import BackboneError

_SPECIAL = 2  # CLS and distillation tokens, before the patches
_AUDIOSET = LogMelFrontEnd.for_seconds(1.0)  # only for its mean and std
_UNCHANGED = (0.0, 0.5)  # the mean and std with which (x - mean) / (2 std) is x
_OUTER_TENSORS: Mapping[str, str] = {
    "embed.cls": "embeddings.cls_token",
    "embed.distillation": "embeddings.distillation_token",
    "embed.position": "embeddings.position_embeddings",
    "embed.patch.weight": "embeddings.patch_embeddings.projection.weight",
    "embed.patch.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}


@dataclass(frozen=True, slots=True)
class Ast:
    """The family of `ASTModel`.

    The names of submodules are only written here, since they differ between releases and from those in checkpoints.

    Attributes:
        mean, std: the numbers with which the checkpoint's features were normalised; AudioSet's by default.
    """

    kind: ClassVar[str] = "audio-spectrogram-transformer"
    title: ClassVar[str] = "AST"
    attention: ClassVar[str] = "sdpa"
    heads_site: ClassVar[type[HeadsSite]] = HeadsSite
    sites: ClassVar[Paths] = {
        "layer": "",
        "norm_mhsa": "layernorm_before",
        "mhsa": "attention",
        "heads": "attention",  # the same module, at the point between its linear maps
        "q": "attention.q_proj",
        "k": "attention.k_proj",
        "v": "attention.v_proj",
        "o": "attention.o_proj",
        "norm_ffn": "layernorm_after",
        "ffn": "mlp",
        "fc1": "mlp.fc1",
        "fc2": "mlp.fc2",
    }
    embedding: ClassVar[str] = "embed.patch"
    special_tokens: ClassVar[int] = _SPECIAL
    frozen: ClassVar[tuple[str, ...]] = ()
    # The checkpoint on the hub has a classifier for AudioSet.
    unneeded: ClassVar[tuple[str, ...]] = ("classifier.",)
    front_end_class: ClassVar[type[FrontEnd]] = LogMelFrontEnd
    mean: float = _AUDIOSET.mean
    std: float = _AUDIOSET.std

    def model_class(self) -> Any:
        try:
            from transformers import ASTModel
        except (ImportError, OSError, RuntimeError) as error:
            raise BackboneError(
                "transformers cannot load its AST model: torch and torchaudio must be the same release "
                f"(pip install 'torch==2.11.*' 'torchaudio==2.11.*'); it said: {error}"
            ) from error
        return ASTModel

    def with_checkpoint_settings(self, place: str, name: str) -> "Ast":
        """Read mean and std from `preprocessor_config.json`; without one they are AudioSet's, as in the papers.

        The length of clips is not read: each task has its own, and position embeddings are resized to it.
        """
        found = _preprocessor(place, name)
        for key, made in (("sampling_rate", SAMPLE_RATE), ("num_mel_bins", BINS)):
            if found.get(key, made) != made:
                raise BackboneError(
                    f"the backbone {name} takes features of {key} {found[key]} (preprocessor_config.json), and the "
                    f"front end makes {made}; use another backbone"
                )
        mean, std = found.get("mean", self.mean), found.get("std", self.std)
        if not found.get("do_normalize", True):
            mean, std = _UNCHANGED
        if not _is_number(mean) or not _is_number(std) or std <= 0:
            raise BackboneError(
                f"the backbone {name} has a mean or a std in its preprocessor_config.json that cannot be used: they "
                "are two numbers, and std is positive; correct the file"
            )
        if math.isclose(mean, _AUDIOSET.mean, rel_tol=1e-6) and math.isclose(std, _AUDIOSET.std, rel_tol=1e-6):
            return replace(self, mean=_AUDIOSET.mean, std=_AUDIOSET.std)
        return replace(self, mean=float(mean), std=float(std))

    def unsupported_because(self, config: Any) -> str:
        if config.num_mel_bins != BINS:
            return f"takes {config.num_mel_bins} mel bins, and the front end makes {BINS}"
        return ""

    def shape(self, model: Any) -> Shape:
        config = model.config
        return Shape(config.hidden_size, config.num_hidden_layers, config.intermediate_size, config.layer_norm_eps)

    def layers(self, model: Any) -> Sequence[Any]:
        layers: Sequence[Any] = model.layers
        return layers

    def outer_tensors(self, model: Any) -> Mapping[str, str]:
        return _OUTER_TENSORS

    def output_settings(self, config: Any) -> str:
        settings = (
            f"heads={config.num_attention_heads} eps={config.layer_norm_eps} act={config.hidden_act} "
            f"stride={config.frequency_stride}x{config.time_stride}"
        )
        # AudioSet's numbers are left out, because the fingerprints in existing registries do not have them.
        usual = (self.mean, self.std) == (_AUDIOSET.mean, _AUDIOSET.std)
        return settings if usual else f"{settings} mean={self.mean!r} std={self.std!r}"

    def front_end(self, seconds: float) -> LogMelFrontEnd:
        return replace(LogMelFrontEnd.for_seconds(seconds), mean=self.mean, std=self.std)

    def time_step(self, config: Any) -> int:
        return int(config.time_stride) * SHIFT

    def rows(self, config: Any) -> int:
        return grid(config)[0]

    def tokenise(self, model: Any, features: Tensor) -> Tensor:
        """Turn normalised log-mel (batch, frames, 128), at least 16 frames, into patches (batch, n, width)."""
        patch = model.config.patch_size
        if features.shape[1] < patch:
            raise BackboneError(f"{features.shape[1]} frames are fewer than one patch of {patch}; pad the clip first")
        return patches_of(model.embeddings.patch_embeddings, features)

    def with_positions(self, model: Any, tokens: Tensor, length: int, positions: str) -> Tensor:
        """Return (batch, 2 + patches, width): the special tokens come first."""
        embeddings, batch = model.embeddings, tokens.shape[0]
        special = (embeddings.cls_token, embeddings.distillation_token)
        tokens = torch.cat([*(token.expand(batch, -1, -1) for token in special), tokens], dim=1)
        if positions == "zeros":
            return tokens
        return tokens + positions_for(model, (length - model.config.patch_size) // model.config.time_stride + 1)

    def layer_options(self, model: Any) -> Mapping[str, object]:
        return {}

    def norm(self, model: Any, tokens: Tensor) -> Tensor:
        normed: Tensor = model.layernorm(tokens)
        return normed


def patches_of(module: Any, features: Tensor) -> Tensor:
    """Return what the stock module of patch embeddings does; on a GPU as a matrix product.

    There a convolution with one input channel takes as long as a whole layer.
    """
    projection = module.projection
    if features.device.type == "cpu":
        patches: Tensor = module(features)
        return patches
    return patches_by_matrix(features, projection.weight, projection.bias, projection.stride)


def patches_by_matrix(features: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, int]) -> Tensor:
    """Embed patches of log-mel (batch, frames, bins) as (batch, patches, width), lowest frequencies first.

    Args:
        weight: (width, 1, patch, patch), of a convolution over (bins, frames).
        bias: (width,).
        stride: from one patch to the next, in bins and in frames.
    """
    size = weight.shape[-1]
    cut = features.mT.unfold(1, size, stride[0]).unfold(2, size, stride[1])  # (batch, rows, columns, patch, patch)
    return F.linear(cut.flatten(3).flatten(1, 2), weight.flatten(1), bias)


def _preprocessor(place: str, name: str) -> Mapping[str, Any]:
    """Return the settings of the checkpoint's feature extractor, which are empty if it has none.

    Raises:
        BackboneError: a file of a local folder cannot be read, or is for another kind of feature extractor.
    """
    from transformers import ASTFeatureExtractor

    try:
        found = dict(ASTFeatureExtractor.get_feature_extractor_dict(place)[0])
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        if any((Path(place) / file).exists() for file in ("preprocessor_config.json", "processor_config.json")):
            raise BackboneError(
                f"the preprocessor_config.json of the backbone {name} cannot be read ({type(error).__name__}); correct "
                "the file, or take it away"
            ) from error
        return {}
    kind = found.get("feature_extractor_type", "ASTFeatureExtractor")
    if kind != "ASTFeatureExtractor":
        raise BackboneError(
            f"the preprocessor_config.json of the backbone {name} is for {str(kind)[:80]!r}, and cl-ast makes the "
            "features of ASTFeatureExtractor; correct the file, or take it away"
        )
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e6 < value < 1e6


def grid(config: Any) -> tuple[int, int]:
    """Return how many rows (frequency) and columns (time) of patches the trained position embeddings have."""
    return (
        (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1,
        (config.max_length - config.patch_size) // config.time_stride + 1,
    )


def positions_for(model: Any, columns: int) -> Tensor:
    """Return the position embeddings (1, 2 + patches, width) for `columns` patches in time."""
    return resized_positions(model.embeddings.position_embeddings, grid(model.config), columns)


def resized_positions(table: Tensor, grid: tuple[int, int], columns: int) -> Tensor:
    """Resize position embeddings (1, 2 + rows · trained, width) from a `grid` of (rows, trained) to `columns` in time.

    This is done as in the original AST (Gong et al. 2021, section 2.2): for a shorter input the middle columns are cut
    out, for a longer one the grid is interpolated bilinearly. The two special tokens keep their embeddings.
    """
    rows, trained = grid
    if columns == trained:
        return table
    special, patches = table[:, :_SPECIAL], table[:, _SPECIAL:]
    cells = patches.transpose(1, 2).reshape(1, -1, rows, trained)
    if columns < trained:
        first = trained // 2 - columns // 2
        cells = cells[..., first : first + columns]
    else:
        cells = F.interpolate(cells, size=(rows, columns), mode="bilinear", align_corners=False)
    return torch.cat([special, cells.flatten(2).transpose(1, 2)], dim=1)
