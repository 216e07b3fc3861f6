"""A prefix that an MLP makes in training: the prefix of peft, and the only thing that is stored."""

import pytest
import torch
from torch import Tensor

from cl_ast.adapters.forms import MadePrefix, Prefix
from cl_ast.adapters.spec import cost, parse
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.sites import AST_BASE
from cl_ast.tasks.task_file import from_bytes, to_bytes
from cl_ast.training.options import Hyperparameters
from cl_ast.training.trainer import train
from tests.cl_ast.conftest import Fresh, Toy

TEXT = "prefix:n=6,mlp=8"
ORDER = [(layer, name) for layer in range(2) for name in ("keys", "values")]


def test_it_makes_the_prefix_that_peft_makes(fresh: Fresh, backbone: Backbone) -> None:
    tuning = pytest.importorskip("peft.tuners.prefix_tuning")
    sizes = {"num_virtual_tokens": 3, "token_dim": 32, "num_layers": 2, "num_attention_heads": 4}
    config = tuning.PrefixTuningConfig(**sizes, encoder_hidden_size=8, prefix_projection=True)
    theirs = tuning.PrefixEncoder(config)
    model = fresh(TEXT)
    tensors = model.adapter.tensors
    up = {
        kind: torch.cat([tensors[f"layers.{layer}.heads.attend.prefix.{name}.{kind}"] for layer, name in ORDER])
        for kind in ("weight", "bias")
    }
    with torch.no_grad():
        theirs.embedding.weight.copy_(tensors["shared.prefix.tokens"])
        theirs.transform[0].weight.copy_(tensors["shared.prefix.down.weight"])
        theirs.transform[0].bias.copy_(tensors["shared.prefix.down.bias"])
        theirs.transform[2].weight.copy_(up["weight"])
        theirs.transform[2].bias.copy_(up["bias"])
        made = theirs(torch.arange(3)[None])[0].view(3, 4, 32)  # of each layer: keys, then values
    model.finish()
    for place, (layer, name) in enumerate(ORDER):
        ours = model.adapter.tensors[f"layers.{layer}.heads.attend.prefix.{name}"]
        torch.testing.assert_close(ours, made[:, place], rtol=0, atol=1e-6)


def test_only_the_prefix_stays_and_computes_the_same(fresh: Fresh, backbone: Backbone, features: Tensor) -> None:
    model = fresh(TEXT)
    before = model.logits(features)
    model.finish()
    assert torch.equal(model.logits(features), before)
    assert set(model.adapter.tensors) == set(fresh("prefix:n=6").adapter.tensors)
    data = to_bytes(model, backbone, {}, {})
    loaded = from_bytes(data, backbone).model
    assert loaded.settings == model.settings and loaded.settings.method.text == TEXT
    assert torch.equal(loaded.logits(features), before)
    assert to_bytes(loaded, backbone, {}, {}) == data
    price = cost(parse(TEXT), backbone.shape, classes=3)
    assert len(data) - 8 - int.from_bytes(data[:8], "little") == price.bytes


def test_training_moves_the_mlp_and_leaves_the_prefix_that_validated_best(
    fresh: Fresh, backbone: Backbone, toy: Toy
) -> None:
    model = fresh(TEXT, labels=("tone", "noise"), frames=30)
    before = {name: tensor.clone() for name, tensor in model.adapter.tensors.items()}
    own = model.adapter
    trained = train(model, toy(0, 8), toy(8, 16), Hyperparameters(epochs=2, batch_size=4, head="fresh"))
    assert trained.epoch > 0
    assert not any(torch.equal(own.tensors[name], tensor) for name, tensor in before.items())
    assert isinstance(model.settings.method.placements[0].form, Prefix)
    assert all(torch.equal(one, other) for one, other in _pairs(own.finished().tensors, model.adapter.tensors))


def _pairs(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    assert one.keys() == other.keys()
    return [(one[name], other[name]) for name in one]


def test_it_is_written_and_trained_again_as_it_was() -> None:
    stored = parse(TEXT, stored=True)
    assert isinstance(stored.placements[0].form, Prefix)
    assert parse(stored.text).placements[0].form == MadePrefix(6, 8)
    assert parse("prefix:mlp=0").text == "prefix:n=24"
    # 12 tokens and a layer of 512 for all layers, and one for the keys and values of each.
    expected = 12 * 768 + 769 * 512 + 12 * 2 * 513 * 768
    price = cost(parse("prefix:mlp=512"), AST_BASE)
    assert (price.trainable_parameters, price.bytes) == (expected, 4 * 221_184)
