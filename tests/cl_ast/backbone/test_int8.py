"""A backbone in 8 bits: the weights it says, a fourth of their bytes, and every method over it."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.listing import SHOWN
from cl_ast.adapters.spec import parse
from cl_ast.backbone import pretrained
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.int8 import Int8Linear
from cl_ast.errors import BackboneError, CorruptRegistryError
from cl_ast.tasks import mixed_batch
from cl_ast.tasks.merging import merged
from cl_ast.tasks.task_file import from_bytes, to_bytes
from cl_ast.training.options import Hyperparameters
from cl_ast.training.trainer import train
from tests.cl_ast.conftest import BackboneOf, Fresh, Randomise, Toy, read_again

MAPS = ("q", "k", "v", "o", "fc1", "fc2")


@pytest.fixture(scope="module")
def plain(backbone_of: BackboneOf) -> Backbone:
    return backbone_of("ast")


@pytest.fixture(scope="module")
def backbone(plain: Backbone) -> Backbone:
    """Every test here is over the same backbone in 8 bits."""
    return pretrained.load(plain.name, precision="int8")


def test_the_map_is_that_of_its_rounded_weights_with_their_gradient() -> None:
    stock = torch.nn.Linear(24, 16)
    stock.requires_grad_(False).weight[3] = 0  # an output without any weight
    scale = stock.weight.abs().amax(dim=1, keepdim=True) / 127
    rounded = torch.round(stock.weight / scale.clamp_min(1e-30)) * scale
    assert (rounded - stock.weight).abs().max() <= scale.max() / 2 + 1e-7
    small = Int8Linear(stock)
    assert (small.steps.dtype, int(small.steps.abs().max())) == (torch.int8, 127)
    x = torch.randn(2, 5, 24, requires_grad=True)
    torch.testing.assert_close(small.weight, rounded)
    torch.testing.assert_close(small(x), F.linear(x, rounded, stock.bias))
    gradient = torch.randn(2, 5, 16)
    (found,) = torch.autograd.grad(small(x), x, gradient)
    (expected,) = torch.autograd.grad(F.linear(x, rounded, stock.bias), x, gradient)
    torch.testing.assert_close(found, expected)


def test_only_linear_maps_are_rounded(plain: Backbone, backbone: Backbone) -> None:
    exact, rounded = plain.tensors(), backbone.tensors()
    assert rounded.keys() == exact.keys()
    changed = {name for name, tensor in rounded.items() if not torch.equal(tensor, exact[name])}
    assert changed == {name for name in exact if name.split(".")[-2] in MAPS and name.endswith("weight")}


def test_it_takes_a_fourth_of_the_bytes(plain: Backbone, backbone: Backbone) -> None:
    maps = plain.shape.depth * (4 * 32 * 32 + 2 * 32 * plain.shape.hidden)
    outputs = plain.shape.depth * (5 * 32 + plain.shape.hidden)
    assert backbone.parameters == plain.parameters
    assert backbone.bytes == plain.bytes - 3 * maps + 4 * outputs
    kept = [*backbone.model.parameters(), *backbone.model.buffers()]
    assert sum(one.numel() * one.element_size() for one in kept) == backbone.bytes


def test_the_fingerprint_says_so(plain: Backbone, backbone: Backbone) -> None:
    assert backbone.fingerprint.startswith("int8:")
    assert backbone.fingerprint[5:] != plain.fingerprint  # it is of the rounded weights
    assert backbone.fingerprint == pretrained.load(plain.name, precision="int8").fingerprint
    assert backbone.had_fingerprint(backbone.fingerprint) and not backbone.had_fingerprint(plain.fingerprint)
    with pytest.raises(BackboneError, match=r"int4.*fp32, int8"):
        pretrained.load(plain.name, precision="int4")


@pytest.mark.slow
@pytest.mark.parametrize("text", dict.fromkeys(parse(text).family for text in SHOWN))
def test_every_method_answers_over_it_as_over_its_rounded_weights(
    fresh: Fresh, randomise: Randomise, backbone: Backbone, features: Tensor, text: str
) -> None:
    model = fresh(text) if text == "paca" else randomise(fresh(text))
    model.finish()
    rounded = read_again(model, backbone.copy())
    torch.testing.assert_close(rounded.logits(features), model.logits(features), rtol=1e-4, atol=1e-4)
    assert torch.equal(read_again(model, backbone).logits(features), model.logits(features))
    (row, other) = mixed_batch.logits([(model, features[0]), (fresh("lora:q,r=2"), features[1])])
    torch.testing.assert_close(row, model.logits(features[:1])[0], rtol=1e-4, atol=1e-4)
    assert not torch.equal(row, other)


@pytest.mark.parametrize("text", ["lora", "dora", "bone", "ltsft:k=99", "ssf"])
def test_a_task_is_merged_into_a_copy_in_full(fresh: Fresh, randomise: Randomise, features: Tensor, text: str) -> None:
    model = randomise(fresh(text))
    model.finish()
    torch.testing.assert_close(merged(model).logits(features), model.logits(features), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("text", ["lora:q,r=2", "full"])
def test_it_is_trained_over_and_does_not_change(fresh: Fresh, backbone: Backbone, toy: Toy, text: str) -> None:
    before = {name: tensor.clone() for name, tensor in backbone.tensors().items()}
    model = fresh(text, labels=("tone", "noise"), frames=30)
    start = {name: tensor.clone() for name, tensor in model.state().items()}
    train(model, toy(0, 16), toy(16, 24), Hyperparameters(epochs=2, batch_size=8, head="fresh"))
    moved = [name for name, tensor in model.state().items() if not torch.equal(tensor, start[name])]
    assert any(".0." in name for name in moved)
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.tensors().items())


def test_a_task_of_the_other_precision_is_refused(fresh: Fresh, plain: Backbone, backbone: Backbone) -> None:
    with pytest.raises(CorruptRegistryError, match="int8:"):
        from_bytes(to_bytes(fresh("lora"), backbone, {}, {}), plain)
    with pytest.raises(CorruptRegistryError, match="int8:"):
        from_bytes(to_bytes(fresh("lora", backbone=plain), plain, {}, {}), backbone)


@pytest.mark.slow
def test_speech_backbones_are_rounded_too(backbone_of: BackboneOf) -> None:
    for family in ("wav2vec2", "wavlm"):
        exact = backbone_of(family)
        small = pretrained.load(exact.name, precision="int8")
        x = torch.randn(2, *exact.front_end(0.6).shape, generator=torch.Generator().manual_seed(0))
        one, other = (each.run(each.embed(x)) for each in (exact, small))
        assert 0 < (one - other).abs().max() < 0.2
        copy = small.copy()
        torch.testing.assert_close(copy.run(copy.embed(x)), other, rtol=1e-4, atol=1e-4)
