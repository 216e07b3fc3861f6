"""The frozen backbone: the stock model while nothing is attached, with a position table for any length."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import ASTModel

from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.families.ast import grid, positions_for
from cl_ast.backbone.pooling import pooled
from cl_ast.backbone.sites import SITES, Act
from cl_ast.errors import BackboneError

TRAINED = 12  # columns of the tiny backbone's position table, 8 rows


class Shift:
    """Adds a number to the output of one site."""

    def __init__(self, key: tuple[int, str], by: float = 1.0) -> None:
        self.key, self.by = key, by

    def acts(self) -> Mapping[tuple[int, str], Act]:
        return {self.key: lambda run, x: run(x) + self.by}


class Scale(Shift):
    """Doubles it: a number added to every key, or before a LayerNorm, would change nothing."""

    def acts(self) -> Mapping[tuple[int, str], Act]:
        return {self.key: lambda run, x: 2 * run(x)}


@pytest.fixture(scope="module")
def stock(backbone_folder: Path) -> Any:
    return ASTModel.from_pretrained(backbone_folder, attn_implementation="sdpa").eval()


def _grid(table: Tensor) -> Tensor:
    """The position table (1, 2 + 96, width) as (8 rows, 12 columns, width), built by hand: rows first."""
    patches = table[0, 2:]
    return torch.stack([torch.stack([patches[row * TRAINED + col] for col in range(TRAINED)]) for row in range(8)])


def test_with_nothing_attached_it_is_the_stock_model_exactly(backbone: Backbone, stock: Any) -> None:
    features = torch.randn(2, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = backbone.norm(backbone.run(backbone.embed(features)))
        assert torch.equal(ours, stock(features).last_hidden_state)


def test_layers_in_two_runs_are_the_layers_in_one(backbone: Backbone, features: Tensor) -> None:
    tokens = backbone.embed(features)
    whole = backbone.run(tokens)
    assert torch.equal(backbone.run(backbone.run(tokens, last=1), first=1), whole)
    assert not torch.equal(backbone.run(tokens, last=1), whole)


def test_it_is_frozen_and_in_evaluation_mode(backbone: Backbone) -> None:
    assert not any(module.training for module in backbone.model.modules())
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())


def test_the_sizes_come_from_the_checkpoint(backbone: Backbone, stock: Any) -> None:
    assert (backbone.shape.width, backbone.shape.depth, backbone.shape.hidden) == (32, 2, 64)
    assert backbone.shape.of("fc1") == (32, 64)
    assert backbone.shape.of("fc2") == (64, 32)
    assert grid(backbone.model.config) == (8, TRAINED)
    assert backbone.parameters == sum(parameter.numel() for parameter in stock.parameters())
    assert backbone.bytes == 4 * backbone.parameters


# Positions


def test_the_table_at_its_own_length_is_untouched(backbone: Backbone, stock: Any) -> None:
    assert torch.equal(positions_for(backbone.model, TRAINED), stock.embeddings.position_embeddings)


@pytest.mark.parametrize(("columns", "first"), [(1, 6), (2, 5), (5, 4), (8, 2), (11, 1)])
def test_a_shorter_input_takes_the_middle_of_the_table(
    backbone: Backbone, stock: Any, columns: int, first: int
) -> None:
    table = stock.embeddings.position_embeddings
    cut = positions_for(backbone.model, columns)
    assert torch.equal(cut[:, :2], table[:, :2])
    assert torch.equal(cut[0, 2:], _grid(table)[:, first : first + columns].reshape(8 * columns, -1))


@pytest.mark.parametrize("columns", [13, 24, 299])
def test_a_longer_input_interpolates_the_table_over_time_only(backbone: Backbone, stock: Any, columns: int) -> None:
    table = stock.embeddings.position_embeddings
    longer = positions_for(backbone.model, columns)
    assert torch.equal(longer[:, :2], table[:, :2])
    # Each row of the grid by itself: (width, 12) to (width, columns).
    rows = [F.interpolate(row.T[None], size=columns, mode="linear", align_corners=False)[0].T for row in _grid(table)]
    torch.testing.assert_close(longer[0, 2:], torch.cat(rows), rtol=0, atol=1e-6)


def test_positions_are_added_to_the_tokens_and_zeros_leaves_them_out(backbone: Backbone, features: Tensor) -> None:
    plain = backbone.embed(features, positions="zeros")
    torch.testing.assert_close(
        backbone.embed(features) - plain, positions_for(backbone.model, 5).expand(3, -1, -1), rtol=0, atol=1e-5
    )
    stem = backbone.tensors()
    assert torch.equal(plain[0, 0], stem["embed.cls"][0, 0])
    assert torch.equal(plain[0, 1], stem["embed.distillation"][0, 0])


@pytest.mark.parametrize("frames", [16, 17, 25, 26, 100, 127, 128, 129, 135, 136, 500, 3000])
def test_any_length_from_one_patch_on_works(backbone: Backbone, frames: int) -> None:
    with torch.inference_mode():
        tokens = backbone.run(backbone.embed(torch.zeros(1, frames, 128)))
    assert tokens.shape == (1, 2 + 8 * ((frames - 16) // 10 + 1), 32)
    assert torch.isfinite(tokens).all()


@pytest.mark.parametrize("frames", [1, 15])
def test_fewer_frames_than_a_patch_are_refused(backbone: Backbone, frames: int) -> None:
    with pytest.raises(BackboneError, match=f"{frames} frames.*16"):
        backbone.embed(torch.zeros(1, frames, 128))


# Attaching


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("layer", [0, 1])
def test_an_adapter_acts_at_every_site_of_every_layer(
    backbone: Backbone, features: Tensor, layer: int, site: str
) -> None:
    tokens = backbone.embed(features)
    plain = backbone.run(tokens)
    with backbone.attached(Scale((layer, site))):
        assert not torch.equal(backbone.run(tokens), plain)
    assert torch.equal(backbone.run(tokens), plain)


def test_an_adapter_at_the_last_block_adds_to_the_residual(backbone: Backbone, features: Tensor) -> None:
    tokens = backbone.embed(features)
    with backbone.attached(Shift((1, "ffn"), by=0.5)):
        shifted = backbone.run(tokens)
    torch.testing.assert_close(shifted, backbone.run(tokens) + 0.5)


def test_what_acted_before_acts_again_after_a_block_and_after_an_error(backbone: Backbone, features: Tensor) -> None:
    tokens = backbone.embed(features)
    plain = backbone.run(tokens)
    with backbone.attached(Shift((0, "ffn"))):
        outer = backbone.run(tokens)
        with backbone.attached(Shift((1, "mhsa"))):
            inner = backbone.run(tokens)
        assert torch.equal(backbone.run(tokens), outer)
        with backbone.attached(None):
            assert torch.equal(backbone.run(tokens), plain)
        with pytest.raises(KeyboardInterrupt), backbone.attached(Shift((1, "q"))):
            raise KeyboardInterrupt
        assert torch.equal(backbone.run(tokens), outer)
    with backbone.attached(Shift((1, "mhsa"))):
        assert torch.equal(backbone.run(tokens), inner)  # the inner block replaced the outer one
    assert torch.equal(backbone.run(tokens), plain)


# Tensors


def test_tensors_have_our_own_names_and_hold_the_whole_model(backbone: Backbone, stock: Any) -> None:
    ours = backbone.tensors()
    assert len(ours) == len(list(stock.parameters()))
    assert not any("layernorm" in name or "proj" in name or "embeddings" in name for name in ours)
    assert torch.equal(ours["layers.1.q.weight"], stock.layers[1].attention.q_proj.weight)
    assert torch.equal(ours["layers.0.norm_ffn.bias"], stock.layers[0].layernorm_after.bias)
    assert torch.equal(ours["layers.1.fc2.weight"], stock.layers[1].mlp.fc2.weight)
    assert torch.equal(backbone.tensor(0, "v", "bias"), stock.layers[0].attention.v_proj.bias)


def test_a_copy_has_the_same_weights_and_is_its_own(backbone: Backbone, features: Tensor) -> None:
    twin = backbone.copy()
    assert twin.fingerprint == backbone.fingerprint
    before = backbone.run(backbone.embed(features))
    assert torch.equal(twin.run(twin.embed(features)), before)
    with torch.no_grad():
        twin.tensors()["layers.0.q.weight"].add_(1)
    assert not torch.equal(twin.run(twin.embed(features)), before)
    assert torch.equal(backbone.run(backbone.embed(features)), before)


# Pooling


def test_pooling_is_over_all_tokens() -> None:
    tokens = torch.randn(4, 50, 8, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(pooled(tokens, "mean"), tokens.mean(1))
    deviation = torch.std(tokens, dim=1, unbiased=False)
    torch.testing.assert_close(pooled(tokens, "mean+std"), torch.cat([tokens.mean(1), deviation], dim=1))


def test_the_gradient_of_the_deviation_of_equal_tokens_is_finite() -> None:
    tokens = torch.ones(2, 5, 3, requires_grad=True)
    pooled(tokens, "mean+std").sum().backward()  # type: ignore[no-untyped-call]
    assert tokens.grad is not None
    assert torch.isfinite(tokens.grad).all()
