"""The methods over Wav2Vec 2.0: where they act in post-norm and pre-norm layers, and what they leave alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.spec import cost, parse
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.pooling import pooled
from cl_ast.backbone.sites import SITES
from cl_ast.errors import CorruptRegistryError, MethodError, TrainingError
from cl_ast.tasks import mixed_batch
from cl_ast.tasks.merging import merged
from cl_ast.tasks.task_file import from_bytes, to_bytes
from cl_ast.training.cached_states import SplitForward
from cl_ast.training.options import Hyperparameters
from cl_ast.training.trainer import train
from tests.cl_ast.conftest import Fresh, Randomise, Toy


@pytest.fixture(scope="module")
def backbone(wav2vec2: Backbone) -> Backbone:
    return wav2vec2


# Where adapters act


@pytest.mark.parametrize("site", SITES)
def test_an_adapter_acts_at_every_site(backbone: Backbone, features: Tensor, site: str) -> None:
    class Double:
        def acts(self) -> Any:
            return {(1, site): lambda run, x: 2 * run(x)}

    tokens = backbone.embed(features)
    plain = backbone.run(tokens)
    with backbone.attached(Double()):
        assert not torch.allclose(backbone.run(tokens), plain)
    assert torch.equal(backbone.run(tokens), plain)


def _delta(p: dict[str, Tensor], x: Tensor) -> Tensor:
    hidden = F.gelu(F.linear(x, p["down.weight"], p["down.bias"]))
    return F.linear(hidden, p["up.weight"], p["up.bias"])


@pytest.mark.parametrize(
    "insertion", ["parallel", "sequential", "sequential,before", "sequential,before,skip", "sequential,noresidual"]
)
def test_a_delta_joins_its_block_before_the_residual_sum(
    backbone: Backbone, stock: Any, fresh: Fresh, randomise: Randomise, features: Tensor, insertion: str
) -> None:
    """Both blocks of a layer, written out as the papers' code has them; post-norm and pre-norm."""
    model = randomise(fresh(f"bottleneck:houlsby,{insertion}"))
    tensors = model.adapter.tensors
    layer = stock.encoder.layers[0]

    def block(run: Callable[[Tensor], Tensor], site: str, x: Tensor) -> Tensor:
        found = {name.split(".bottleneck.")[1]: t for name, t in tensors.items() if f"s.0.{site}." in name}
        if insertion == "parallel":
            return run(x) + _delta(found, x)
        if insertion == "sequential,before":
            return run(_delta(found, x)) + _delta(found, x)
        if insertion == "sequential,before,skip":
            return run(x + _delta(found, x))
        out = run(x)
        return _delta(found, out) if insertion.endswith("noresidual") else out + _delta(found, out)

    def norm(site: str, x: Tensor) -> Tensor:
        weight, bias = (tensors[f"layers.0.norm_{site}.replace.norm.{kind}"] for kind in ("weight", "bias"))
        return F.layer_norm(x, (32,), weight, bias, 1e-5)

    with torch.inference_mode():
        x = backbone.embed(features)
        blocks = (("mhsa", lambda x: layer.attention(x)[0]), ("ffn", layer.feed_forward))
        expected = x
        for site, run in blocks:
            if backbone.shape.final_norm:
                expected = expected + block(run, site, norm(site, expected))
            else:
                expected = norm(site, expected + block(run, site, expected))
        with model.acting():
            torch.testing.assert_close(backbone.run(x, last=1), expected, rtol=1e-5, atol=1e-5)


def test_prefixes_act_inside_attention(
    backbone: Backbone, stock: Any, fresh: Fresh, randomise: Randomise, features: Tensor
) -> None:
    model = randomise(fresh("prefix:n=6"))
    layer = stock.encoder.layers[0]
    keys, values = (model.adapter.tensors[f"layers.0.heads.attend.prefix.{name}"] for name in ("keys", "values"))

    def heads(value: Tensor) -> Tensor:
        return value.reshape(*value.shape[:-1], 4, 8).transpose(-3, -2)

    def attention(x: Tensor) -> Tensor:
        q = heads(layer.attention.q_proj(x))
        k = torch.cat([heads(keys).expand(3, -1, -1, -1), heads(layer.attention.k_proj(x))], dim=2)
        v = torch.cat([heads(values).expand(3, -1, -1, -1), heads(layer.attention.v_proj(x))], dim=2)
        out: Tensor = layer.attention.out_proj(((q @ k.mT / 8**0.5).softmax(-1) @ v).transpose(1, 2).flatten(2))
        return out

    with torch.inference_mode():
        x = backbone.embed(features)
        if backbone.shape.final_norm:
            expected = x + attention(layer.layer_norm(x))
            expected = expected + layer.feed_forward(layer.final_layer_norm(expected))
        else:
            expected = layer.layer_norm(x + attention(x))
            expected = layer.final_layer_norm(expected + layer.feed_forward(expected))
        with model.acting():
            torch.testing.assert_close(backbone.run(x, last=1), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "text", ["linear", "conformer", "prompt", "prefix", "lora:qkvo", "sorsa", "bitfit", "onebit", "full"]
)
def test_a_task_starts_plain_and_comes_back_exactly(
    backbone: Backbone, fresh: Fresh, randomise: Randomise, features: Tensor, text: str
) -> None:
    model = fresh(text)
    plain = pooled(backbone.norm(backbone.run(backbone.embed(features))), "mean")
    if model.settings.method.starts_plain:
        expected = F.linear(plain, model.head["head.weight"], model.head["head.bias"])
        torch.testing.assert_close(model.logits(features), expected, rtol=0, atol=1e-5)
    if text not in ("onebit", "full"):
        randomise(model)
    data = to_bytes(model, backbone, {}, {})
    loaded = from_bytes(data, backbone).model
    assert loaded.settings == model.settings
    assert torch.equal(loaded.logits(features), model.logits(features))
    assert ("head.norm.weight" in loaded.head) == backbone.shape.final_norm


def test_full_fine_tuning_leaves_the_convolutions_as_they_are(backbone: Backbone, fresh: Fresh, toy: Toy) -> None:
    model = fresh("full", labels=("tone", "noise"), frames=30)
    train(model, toy(0, 8), toy(8, 12), Hyperparameters(epochs=2, batch_size=4, learning_rate=1e-3))
    now, before = model.backbone.tensors(), backbone.tensors()
    moved = {name for name in now if not torch.equal(now[name], before[name])}
    assert moved == {name for name in now if not name.startswith(("embed.conv.", "norm."))} - {
        name for name in now if name.endswith(".k.bias") and name not in moved
    }
    assert "embed.position.weight.magnitude" in moved and "embed.project.weight" in moved
    price = cost(parse("full"), backbone.shape, classes=2, backbone_parameters=backbone.parameters)
    assert price.trainable_parameters == model.trainable_parameters() < backbone.parameters


@pytest.mark.parametrize("pooling", ["mean", "mean+std"])
def test_a_probe_trains_on_two_vectors_a_clip_as_on_all_tokens(
    fresh: Fresh, randomise: Randomise, features: Tensor, pooling: str
) -> None:
    model = randomise(fresh("linear", pooling=pooling))
    frozen = SplitForward(model, "fp32")
    torch.testing.assert_close(frozen.above(frozen.below(features)), model.logits(features), rtol=0, atol=1e-5)


def test_rows_of_many_methods_share_one_pass(fresh: Fresh, randomise: Randomise, features: Tensor) -> None:
    texts = ("linear", "conformer", "lora:qv,r=2", "prefix:n=4", "bitfit", "prompt:n=3", "bottleneck:houlsby")
    batch = [(randomise(fresh(text)), features[n % 3]) for n, text in enumerate(texts)]
    with torch.inference_mode():
        for (model, one), logits in zip(batch, mixed_batch.logits(batch), strict=True):
            torch.testing.assert_close(logits, model.logits(one[None])[0], rtol=1e-5, atol=1e-5)


def test_merged_it_answers_the_same(backbone: Backbone, fresh: Fresh, randomise: Randomise, features: Tensor) -> None:
    model = randomise(fresh("lora:qv+lora:ffn+ssf+bitfit"))
    torch.testing.assert_close(merged(model).logits(features), model.logits(features), rtol=0, atol=1e-4)
    with pytest.raises(MethodError, match="cannot be merged"):
        merged(fresh("conformer"))


def test_masks_of_a_spectrogram_are_refused(fresh: Fresh, toy: Toy) -> None:
    model = fresh("linear", labels=("tone", "noise"), frames=30)
    for options in (Hyperparameters(epochs=1, frequency_mask=24), Hyperparameters(epochs=1, time_mask=80)):
        with pytest.raises(TrainingError, match="takes samples"):
            train(model, toy(0, 4), toy(4, 8), options)


def test_a_task_with_another_front_end_is_refused(backbone: Backbone, fresh: Fresh) -> None:
    model = fresh("linear")
    model.settings = replace(model.settings, front_end=LogMelFrontEnd(100))
    with pytest.raises(CorruptRegistryError, match=r"takes clips in another form than Wav2Vec 2\.0"):
        from_bytes(to_bytes(model, backbone, {}, {}), backbone)
