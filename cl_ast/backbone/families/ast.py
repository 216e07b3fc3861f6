"""The Audio Spectrogram Transformer (Gong et al. 2021): log-mel patches, pre-norm layers, two special tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.audio.front_ends import FrontEnd
from cl_ast.audio.log_mel import BINS, LogMelFrontEnd
from cl_ast.backbone.sites import Paths, Shape
from cl_ast.errors import BackboneError

_SPECIAL = 2  # CLS and distillation tokens, before the patches
_STEM: Mapping[str, str] = {
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
    """`ASTModel`. Submodule names are in this one place: they differ between releases and from the checkpoints'."""

    title: ClassVar[str] = "AST"
    sites: ClassVar[Paths] = {
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
    special: ClassVar[int] = _SPECIAL
    frozen: ClassVar[tuple[str, ...]] = ()
    # The hub checkpoint carries a classifier for AudioSet.
    unneeded: ClassVar[tuple[str, ...]] = ("classifier.",)
    front_end_class: ClassVar[type[FrontEnd]] = LogMelFrontEnd

    def model_class(self) -> Any:
        try:
            from transformers import ASTModel
        except (ImportError, OSError, RuntimeError) as error:
            raise BackboneError(
                "transformers cannot load its AST model: torch and torchaudio must be the same release "
                f"(pip install 'torch==2.11.*' 'torchaudio==2.11.*'); it said: {error}"
            ) from error
        return ASTModel

    def with_front_end_of(self, place: str, name: str) -> "Ast":
        return self  # the papers' front end, whatever the checkpoint says

    def refusal(self, config: Any) -> str:
        if config.num_mel_bins != BINS:
            return f"takes {config.num_mel_bins} mel bins, and the front end makes {BINS}"
        return ""

    def shape(self, model: Any) -> Shape:
        config = model.config
        return Shape(config.hidden_size, config.num_hidden_layers, config.intermediate_size, config.layer_norm_eps)

    def layers(self, model: Any) -> Sequence[Any]:
        layers: Sequence[Any] = model.layers
        return layers

    def stem(self, model: Any) -> Mapping[str, str]:
        return _STEM

    def decisive(self, config: Any) -> str:
        return (
            f"heads={config.num_attention_heads} eps={config.layer_norm_eps} act={config.hidden_act} "
            f"stride={config.frequency_stride}x{config.time_stride}"
        )

    def front_end(self, seconds: float) -> LogMelFrontEnd:
        return LogMelFrontEnd.for_seconds(seconds)

    def embed(self, model: Any, features: Tensor, positions: str) -> Tensor:
        """Normalised log-mel (batch, frames, 128), at least 16 frames, to tokens (batch, 2 + patches, width)."""
        patch = model.config.patch_size
        if features.shape[1] < patch:
            raise BackboneError(f"{features.shape[1]} frames are fewer than one patch of {patch}; pad the clip first")
        embeddings = model.embeddings
        patches = embeddings.patch_embeddings(features)
        batch = len(features)
        tokens = torch.cat(
            [
                embeddings.cls_token.expand(batch, -1, -1),
                embeddings.distillation_token.expand(batch, -1, -1),
                patches,
            ],
            dim=1,
        )
        if positions == "zeros":
            return tokens
        return tokens + positions_for(model, (features.shape[1] - patch) // model.config.time_stride + 1)

    def norm(self, model: Any, tokens: Tensor) -> Tensor:
        normed: Tensor = model.layernorm(tokens)
        return normed


def grid(config: Any) -> tuple[int, int]:
    """Rows (frequency) and columns (time) of the trained position table."""
    return (
        (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1,
        (config.max_length - config.patch_size) // config.time_stride + 1,
    )


def positions_for(model: Any, columns: int) -> Tensor:
    """The position table for `columns` patches in time: (1, 2 + patches, width)."""
    return resized_positions(model.embeddings.position_embeddings, grid(model.config), columns)


def resized_positions(table: Tensor, grid: tuple[int, int], columns: int) -> Tensor:
    """A position table (1, 2 + rows · trained, width) for a `grid` of (rows, trained), fitted to `columns` in time.

    As the original AST does (Gong et al. 2021, section 2.2): cut from the middle when the input is shorter than the
    table, interpolated bilinearly on the (frequency, time) grid when longer; the two special tokens keep theirs.
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
