"""Defines the model that is pretrained: a standard ASTModel that takes clips of any length, and its heads."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import ASTConfig, ASTModel

from cl_ast.backbone.families.ast import resized_positions
from cl_ast.pretrain.augment import PHONEME_CLASSES, SPEECH
from cl_ast.pretrain.mel import BINS
from cl_ast.pretrain.speech import MOODS, VARIANTS, languages, word_classes

DESCRIPTORS = 3 * 32 + 2 * 6


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of the backbone.

    Attributes:
        width: features per token.
        depth: layers.
        heads: attention heads.
        hidden: width of the MLPs.
        frequency_stride, time_stride: steps from one patch to the next, in bins and in frames.
        frames: frames that the position embeddings is made for.
    """

    width: int = 256
    depth: int = 3
    heads: int = 4
    hidden: int = 1024
    frequency_stride: int = 16
    time_stride: int = 16
    frames: int = 256

    def config(self) -> ASTConfig:
        """Return the sizes as a configuration of transformers."""
        return ASTConfig(
            hidden_size=self.width,
            num_hidden_layers=self.depth,
            num_attention_heads=self.heads,
            intermediate_size=self.hidden,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            patch_size=16,
            frequency_stride=self.frequency_stride,
            time_stride=self.time_stride,
            max_length=self.frames,
            num_mel_bins=BINS,
        )


def grid_positions(rows: int, columns: int, width: int, scale: float = 0.2) -> Tensor:
    """Return the initial position embeddings (rows * columns, width): sines of the row and of the column.

    Neighbouring patches get similar values. With a random table, training needs tens of thousands of clips to find
    out which patches are neighbours.
    """

    def waves(place: Tensor) -> Tensor:
        rate = 100.0 ** -(torch.arange(width // 4) / (width // 4))
        angle = place[:, None].float() * rate
        return torch.cat([angle.sin(), angle.cos()], 1)

    by_row = waves(torch.arange(rows)).repeat_interleave(columns, 0)
    by_column = waves(torch.arange(columns) - columns // 2).repeat(rows, 1)
    return scale * torch.cat([by_row, by_column], 1)


class Backbone(nn.Module):
    """A standard ASTModel that is run on whole clips, with its position embeddings resized to their length."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.stock: Any = stock
        config = stock.config
        self.rows = (BINS - config.patch_size) // config.frequency_stride + 1
        self.stride: int = config.time_stride
        self.patch: int = config.patch_size
        self.trained_columns = (config.max_length - config.patch_size) // config.time_stride + 1

    def columns(self, frames: int) -> int:
        """Return the number of patches in time of a clip of that many frames."""
        return (frames - self.patch) // self.stride + 1

    def forward(self, features: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return the output tokens (batch, 2 + patches, width) of features (batch, frames, 128).

        If `keep` is given, only the patches with these indices are used.
        """
        embeddings = self.stock.embeddings
        grid = (self.rows, self.trained_columns)
        table = resized_positions(embeddings.position_embeddings, grid, self.columns(features.shape[1]))
        patches = embeddings.patch_embeddings(features) + table[:, 2:]
        if keep is not None:
            patches = patches[:, keep]
        special = torch.cat([embeddings.cls_token, embeddings.distillation_token], 1) + table[:, :2]
        tokens = torch.cat([special.expand(len(features), -1, -1), patches], 1)
        for layer in self.stock.layers:
            tokens = layer(tokens)
        out: Tensor = self.stock.layernorm(tokens)
        return out


def pooled(tokens: Tensor) -> Tensor:
    """Return mean and standard deviation over all tokens (batch, 2 * width), as the heads of cl_ast use them."""
    mean = tokens.mean(1)
    deviation = (tokens - mean[:, None]).square().mean(1).clamp_min(1e-6).sqrt()
    return torch.cat([mean, deviation], -1)


def descriptors(features: Tensor) -> Tensor:
    """Return simple statistics of each clip (batch, 108) from its features (batch, frames, 128).

    They are the mean, the standard deviation and the frame-to-frame change of 32 bands, and the fluctuation of the
    loudness in two halves of the spectrum and six octaves.
    """
    bands = features.reshape(*features.shape[:2], 32, 4).mean(3)
    change = (bands[:, 1:] - bands[:, :-1]).square().mean(1).sqrt()
    halves = features.reshape(*features.shape[:2], 2, BINS // 2).mean(3)
    spectrum = torch.fft.rfft(halves - halves.mean(1, keepdim=True), 512, dim=1).abs().square()
    edges = (2, 6, 11, 21, 41, 82, 164)  # bins of 0.195 Hz: from 0.4 to 32 Hz, about an octave each
    energy = [spectrum[:, a:b].mean(1) for a, b in pairwise(edges)]
    fluctuation = (torch.cat(energy, 1) / features.shape[1] + 1e-4).log()
    return torch.cat([bands.mean(1), bands.std(1), change, fluctuation], 1)


class Pretraining(nn.Module):
    """The backbone with a linear head for each target: on the pooled clip, or on each column of patches."""

    CLIP_TARGETS = {  # noqa: RUF012
        "family": SPEECH + 1,
        "word": len(word_classes()),
        "language": len(languages()),
        "voice": len(VARIANTS),
        "mood": len(MOODS),
        "prosody": 4,
        "descriptors": DESCRIPTORS,
    }
    COLUMN_TARGETS = {"phonemes": PHONEME_CLASSES, "pitch": 2}  # noqa: RUF012

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.backbone = Backbone(ASTModel(shape.config()))
        start = grid_positions(self.backbone.rows, self.backbone.trained_columns, shape.width)
        with torch.no_grad():
            self.backbone.stock.embeddings.position_embeddings[0, 2:] = start
        # The heads are linear on standardised features, so that a linear probe can find what they were taught.
        self.summary_norm = nn.BatchNorm1d(2 * shape.width, affine=False)
        self.descriptor_norm = nn.BatchNorm1d(DESCRIPTORS, affine=False)
        self.clip_heads = nn.ModuleDict({k: nn.Linear(2 * shape.width, n) for k, n in self.CLIP_TARGETS.items()})
        self.column_heads = nn.ModuleDict({k: nn.Linear(shape.width, n) for k, n in self.COLUMN_TARGETS.items()})

    def forward(self, features: Tensor, keep: Tensor | None = None) -> dict[str, Tensor]:
        """Return the predictions by name: (batch, n) for the clip, (batch, columns, n) for its columns."""
        tokens = self.backbone(features, keep).float()
        summary = self.summary_norm(pooled(tokens))
        columns = self.backbone.columns(features.shape[1])
        place = torch.arange(self.backbone.rows * columns, device=tokens.device) if keep is None else keep
        # One matrix product gives the mean of the kept patches of each column. `F.one_hot` would read `place` back.
        share = (place[:, None] % columns == torch.arange(columns, device=tokens.device)).float()
        share = share / share.sum(0).clamp_min(1)
        over_rows = torch.einsum("bkd,kc->bcd", tokens[:, 2:], share)
        out = {name: head(summary) for name, head in self.clip_heads.items()}
        out |= {name: head(over_rows) for name, head in self.column_heads.items()}
        return out
