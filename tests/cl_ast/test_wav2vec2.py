"""The second trunk, Wav2Vec 2.0: the stock model while nothing is attached, and the same methods where they act."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    HubertConfig,
    HubertModel,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2ForPreTraining,
    Wav2Vec2Model,
)

import streams
from cl_ast import bank, checkpoints
from cl_ast.adapters.spec import cost, parse
from cl_ast.backbone import Backbone, pooled
from cl_ast.clips import ClipSet
from cl_ast.errors import (
    AudioError,
    BackboneError,
    ClAstError,
    CorruptRegistryError,
    MethodError,
    RegistryError,
    TrainingError,
)
from cl_ast.frontend import FrontEnd
from cl_ast.frozen import Frozen
from cl_ast.manager import Manager
from cl_ast.merging import merged
from cl_ast.recipes import recipe_for
from cl_ast.sites import SITES
from cl_ast.task_model import TaskModel, from_bytes
from cl_ast.training import TrainOptions, train
from cl_ast.waveform import MAX_SAMPLES, MIN_SAMPLES, WaveformFrontEnd
from registry import BackboneRecord, NewVersion, Registry

BASE = "facebook/wav2vec2-base"


@pytest.fixture(scope="module", params=["wav2vec2", "wav2vec2-stable"])
def trunk(request: pytest.FixtureRequest, trunk_of: Callable[[str], Backbone]) -> Backbone:
    return trunk_of(request.param)


@pytest.fixture(scope="module")
def stock(trunk: Backbone) -> Any:
    return Wav2Vec2Model.from_pretrained(trunk.name, attn_implementation="sdpa").eval()


@pytest.fixture
def folder(tmp_path: Path, save_wav2vec2: Callable[..., Path]) -> Path:
    return save_wav2vec2(tmp_path / "trunk")


def _change(folder: Path, how: Callable[[dict[str, Tensor]], object]) -> Path:
    tensors = load_file(folder / "model.safetensors")
    how(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _refused(name: str, *words: str) -> None:
    with pytest.raises(BackboneError) as caught:
        checkpoints.load(name)
    for word in (name, *words):
        assert word in str(caught.value)


# What it hears


@pytest.mark.parametrize("seconds", [0.2, 0.5, 0.8])
def test_the_front_end_is_that_of_transformers(sine: Callable[..., np.ndarray], seconds: float) -> None:
    clip = sine(440, seconds) + 0.1
    ours = WaveformFrontEnd(8_000)([clip])
    theirs = Wav2Vec2FeatureExtractor()(
        clip,
        sampling_rate=16_000,
        padding="max_length",
        max_length=8_000,
        truncation=True,
        return_attention_mask=True,  # so that the padding takes no part in mean and variance
        return_tensors="pt",
    ).input_values
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    plain = WaveformFrontEnd(8_000, normalise=False)([clip])
    assert torch.equal(plain[0, : len(clip)], torch.from_numpy(clip[:8_000]))
    assert not plain[0, len(clip) :].any()


def test_its_length_has_bounds() -> None:
    for samples in (MIN_SAMPLES - 1, MAX_SAMPLES + 1):
        with pytest.raises(AudioError, match="cannot be used"):
            WaveformFrontEnd(samples)
    assert WaveformFrontEnd.for_seconds(0).samples == MIN_SAMPLES
    assert WaveformFrontEnd.for_seconds(1.5).samples == 24_000
    assert WaveformFrontEnd.for_seconds(99).samples == MAX_SAMPLES


def test_the_checkpoint_says_whether_clips_are_normalised(folder: Path) -> None:
    usual = checkpoints.load(str(folder))
    assert usual.front_end(1.0) == WaveformFrontEnd(16_000)
    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
    other = checkpoints.load(str(folder))
    assert other.front_end(1.0) == WaveformFrontEnd(16_000, normalise=False)
    assert other.copy().front_end(1.0) == other.front_end(1.0)
    assert other.fingerprint != usual.fingerprint
    Wav2Vec2FeatureExtractor(sampling_rate=8_000).save_pretrained(folder)
    _refused(str(folder), "8000 samples a second")


# The trunk


@pytest.mark.parametrize("samples", [170, 171, 9_600, 9_760])
def test_with_nothing_attached_it_is_the_stock_model_to_the_bit(trunk: Backbone, stock: Any, samples: int) -> None:
    clips = torch.randn(3, samples, generator=torch.Generator().manual_seed(samples))
    with torch.inference_mode():
        ours = trunk.norm(trunk.run(trunk.embed(clips)))
        assert torch.equal(ours, stock(clips).last_hidden_state)


def test_long_clips_are_convolved_a_few_at_a_time_to_the_same_tokens(trunk: Backbone, stock: Any) -> None:
    clips = torch.randn(3, 200_000, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        heard = stock.feature_projection(stock.feature_extractor(clips).transpose(1, 2))[0]
        heard = heard + stock.encoder.pos_conv_embed(heard)
        heard = heard if trunk.shape.final_norm else stock.encoder.layer_norm(heard)
        torch.testing.assert_close(trunk.embed(clips), heard, rtol=0, atol=1e-5)


def test_positions_can_be_left_out(trunk: Backbone, stock: Any, features: Tensor) -> None:
    with torch.inference_mode():
        heard = stock.feature_projection(stock.feature_extractor(features).transpose(1, 2))[0]
        plain = heard if trunk.shape.final_norm else stock.encoder.layer_norm(heard)
        torch.testing.assert_close(trunk.embed(features, positions="zeros"), plain, rtol=0, atol=1e-5)
        assert not torch.allclose(trunk.embed(features), plain, atol=1e-2)


def test_fewer_samples_than_one_token_takes_are_refused(trunk: Backbone) -> None:
    with pytest.raises(BackboneError, match="169 samples are fewer than the 170"):
        trunk.embed(torch.zeros(1, 169))


def test_nothing_of_pretraining_acts_in_training(trunk: Backbone, fresh: Callable[..., TaskModel]) -> None:
    """Masking, dropout and layer drop: 10 % and more of everything, in the configuration of the published ones."""
    config = trunk.model.config
    assert config.mask_time_prob > 0 and config.layerdrop > 0 and config.hidden_dropout > 0
    model = fresh("full")
    model.adapter.training = True
    clips = torch.randn(2, 9_600, generator=torch.Generator().manual_seed(2))
    assert torch.equal(model.logits(clips), model.logits(clips))
    assert not any(module.training for module in model.backbone.model.modules())


def test_tensors_have_our_own_names_and_hold_the_whole_model_but_the_mask(trunk: Backbone, stock: Any) -> None:
    ours = trunk.tensors()
    assert trunk.parameters == sum(p.numel() for name, p in stock.named_parameters() if name != "masked_spec_embed")
    assert not any("layer_norm" in name or "_proj" in name or "parametrizations" in name for name in ours)
    assert torch.equal(ours["layers.1.o.weight"], stock.encoder.layers[1].attention.out_proj.weight)
    assert torch.equal(ours["layers.0.norm_mhsa.bias"], stock.encoder.layers[0].layer_norm.bias)
    assert torch.equal(ours["embed.conv.1.weight"], stock.feature_extractor.conv_layers[1].conv.weight)
    last = "norm.weight" if trunk.shape.final_norm else "embed.norm.weight"
    assert torch.equal(ours[last], stock.encoder.layer_norm.weight)
    conv = stock.encoder.pos_conv_embed.conv
    magnitude, direction = (ours[f"embed.position.weight.{part}"] for part in ("magnitude", "direction"))
    expected = magnitude * direction / direction.square().sum(dim=(0, 1), keepdim=True).sqrt()
    torch.testing.assert_close(conv.weight, expected)


def test_a_copy_has_the_same_weights_and_is_its_own(trunk: Backbone, features: Tensor) -> None:
    twin = trunk.copy()
    before = trunk.run(trunk.embed(features))
    assert twin.fingerprint == trunk.fingerprint
    assert torch.equal(twin.run(twin.embed(features)), before)
    with torch.no_grad():
        twin.tensors()["embed.position.weight.magnitude"].mul_(2)
    assert not torch.allclose(twin.run(twin.embed(features)), before)
    assert torch.equal(trunk.run(trunk.embed(features)), before)


# Where adapters act


@pytest.mark.parametrize("site", SITES)
def test_an_adapter_acts_at_every_site(trunk: Backbone, features: Tensor, site: str) -> None:
    class Double:
        def acts(self) -> Any:
            return {(1, site): lambda run, x: 2 * run(x)}

    tokens = trunk.embed(features)
    plain = trunk.run(tokens)
    with trunk.attached(Double()):
        assert not torch.allclose(trunk.run(tokens), plain)
    assert torch.equal(trunk.run(tokens), plain)


def _delta(p: dict[str, Tensor], x: Tensor) -> Tensor:
    hidden = F.gelu(F.linear(x, p["down.weight"], p["down.bias"]))
    return F.linear(hidden, p["up.weight"], p["up.bias"])


@pytest.mark.parametrize("insertion", ["parallel", "sequential", "sequential,before", "sequential,noresidual"])
def test_a_delta_joins_its_block_before_the_residual_sum(
    trunk: Backbone, stock: Any, fresh: Callable[..., TaskModel], randomise: Any, features: Tensor, insertion: str
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
            return run(x + _delta(found, x))
        out = run(x)
        return _delta(found, out) if insertion.endswith("noresidual") else out + _delta(found, out)

    def norm(site: str, x: Tensor) -> Tensor:
        own = [tensors[f"layers.0.norm_{site}.replace.norm.{kind}"] for kind in ("weight", "bias")]
        return F.layer_norm(x, (32,), *own, 1e-5)

    with torch.inference_mode():
        x = trunk.embed(features)
        blocks = (("mhsa", lambda x: layer.attention(x)[0]), ("ffn", layer.feed_forward))
        expected = x
        for site, run in blocks:
            if trunk.shape.final_norm:
                expected = expected + block(run, site, norm(site, expected))
            else:
                expected = norm(site, expected + block(run, site, expected))
        with model.acting():
            torch.testing.assert_close(trunk.run(x, last=1), expected, rtol=1e-5, atol=1e-5)


def test_prefixes_act_inside_attention(
    trunk: Backbone, stock: Any, fresh: Callable[..., TaskModel], randomise: Any, features: Tensor
) -> None:
    model = randomise(fresh("prefix:n=6"))
    layer = stock.encoder.layers[0]
    keys, values = (model.adapter.tensors[f"layers.0.heads.attend.prefix.{name}"] for name in ("keys", "values"))

    def heads(value: Tensor) -> Tensor:
        return value.unflatten(-1, (4, 8)).transpose(-3, -2)

    def attention(x: Tensor) -> Tensor:
        q = heads(layer.attention.q_proj(x))
        k = torch.cat([heads(keys).expand(3, -1, -1, -1), heads(layer.attention.k_proj(x))], dim=2)
        v = torch.cat([heads(values).expand(3, -1, -1, -1), heads(layer.attention.v_proj(x))], dim=2)
        return layer.attention.out_proj(((q @ k.mT / 8**0.5).softmax(-1) @ v).transpose(1, 2).flatten(2))

    with torch.inference_mode():
        x = trunk.embed(features)
        if trunk.shape.final_norm:
            expected = x + attention(layer.layer_norm(x))
            expected = expected + layer.feed_forward(layer.final_layer_norm(expected))
        else:
            expected = layer.layer_norm(x + attention(x))
            expected = layer.final_layer_norm(expected + layer.feed_forward(expected))
        with model.acting():
            torch.testing.assert_close(trunk.run(x, last=1), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "text", ["linear", "conformer", "prompt", "prefix", "lora:qkvo", "sorsa", "bitfit", "onebit", "full"]
)
def test_a_task_starts_plain_and_comes_back_to_the_bit(
    trunk: Backbone, fresh: Callable[..., TaskModel], randomise: Any, features: Tensor, text: str
) -> None:
    model = fresh(text)
    plain = pooled(trunk.norm(trunk.run(trunk.embed(features))), "mean")
    if model.settings.method.starts_plain:
        expected = F.linear(plain, model.head["head.weight"], model.head["head.bias"])
        torch.testing.assert_close(model.logits(features), expected, rtol=0, atol=1e-5)
    if text not in ("onebit", "full"):
        randomise(model)
    data = model.to_bytes(trunk, {}, {})
    loaded = from_bytes(data, trunk).model
    assert loaded.settings == model.settings
    assert torch.equal(loaded.logits(features), model.logits(features))
    assert ("head.norm.weight" in loaded.head) == trunk.shape.final_norm


def test_full_fine_tuning_leaves_the_convolutions_as_they_are(
    trunk: Backbone, fresh: Callable[..., TaskModel], toy: Callable[[int, int], ClipSet]
) -> None:
    model = fresh("full", labels=("tone", "noise"), frames=30)
    train(model, toy(0, 8), toy(8, 12), TrainOptions(epochs=2, batch_size=4, learning_rate=1e-3))
    now, before = model.backbone.tensors(), trunk.tensors()
    moved = {name for name in now if not torch.equal(now[name], before[name])}
    assert moved == {name for name in now if not name.startswith(("embed.conv.", "norm."))} - {
        name for name in now if name.endswith(".k.bias") and name not in moved
    }
    assert "embed.position.weight.magnitude" in moved and "embed.project.weight" in moved
    price = cost(parse("full"), trunk.shape, classes=2, trunk_parameters=trunk.parameters)
    assert price.trainable_parameters == model.trainable_parameters() < trunk.parameters


@pytest.mark.parametrize("pooling", ["mean", "mean+std"])
def test_a_probe_trains_on_two_vectors_a_clip_as_on_all_tokens(
    fresh: Callable[..., TaskModel], randomise: Any, features: Tensor, pooling: str
) -> None:
    model = randomise(fresh("linear", pooling=pooling))
    frozen = Frozen(model, "fp32")
    torch.testing.assert_close(frozen.above(frozen.below(features)), model.logits(features), rtol=0, atol=1e-5)


def test_rows_of_many_methods_share_one_pass(fresh: Callable[..., TaskModel], randomise: Any, features: Tensor) -> None:
    texts = ("linear", "conformer", "lora:qv,r=2", "prefix:n=4", "bitfit", "prompt:n=3", "bottleneck:houlsby")
    asked = [(randomise(fresh(text)), features[n % 3]) for n, text in enumerate(texts)]
    with torch.inference_mode():
        for (model, one), logits in zip(asked, bank.logits(asked), strict=True):
            torch.testing.assert_close(logits, model.logits(one[None])[0], rtol=1e-5, atol=1e-5)


def test_merged_it_answers_the_same(
    trunk: Backbone, fresh: Callable[..., TaskModel], randomise: Any, features: Tensor
) -> None:
    model = randomise(fresh("lora:qv+lora:ffn+ssf+bitfit"))
    torch.testing.assert_close(merged(model).logits(features), model.logits(features), rtol=0, atol=1e-4)
    with pytest.raises(MethodError, match="cannot be merged"):
        merged(fresh("conformer"))


def test_masks_of_a_spectrogram_are_refused(
    fresh: Callable[..., TaskModel], toy: Callable[[int, int], ClipSet]
) -> None:
    model = fresh("linear", labels=("tone", "noise"), frames=30)
    for masks in ({"frequency_mask": 24}, {"time_mask": 80}):
        with pytest.raises(TrainingError, match="hears samples"):
            train(model, toy(0, 4), toy(4, 8), TrainOptions(epochs=1, **masks))


def test_a_task_that_hears_otherwise_is_refused(trunk: Backbone, fresh: Callable[..., TaskModel]) -> None:
    model = fresh("linear")
    model.settings = replace(model.settings, front_end=FrontEnd(100))
    with pytest.raises(CorruptRegistryError, match=r"hears clips in another way than Wav2Vec 2\.0"):
        from_bytes(model.to_bytes(trunk, {}, {}), trunk)


# Checkpoints


@pytest.mark.parametrize("model", [Wav2Vec2ForPreTraining, Wav2Vec2ForCTC])
def test_a_checkpoint_as_on_the_hub_is_a_trunk(tmp_path: Path, save_wav2vec2: Callable[..., Path], model: Any) -> None:
    """With heads that a trunk does without, and the older names of the weight-normed convolution."""
    sizes = {"codevector_dim": 16, "proj_codevector_dim": 16, "num_codevectors_per_group": 4, "vocab_size": 8}
    place = save_wav2vec2(tmp_path / "hub", model=model, **sizes)
    saved = load_file(place / "model.safetensors")
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}

    def rename(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            for new, was in old.items():
                if new in name:
                    tensors[name.replace(new, was)] = tensors.pop(name)
        tensors.pop("wav2vec2.masked_spec_embed")

    _change(place, rename)
    trunk = checkpoints.load(str(place))
    direction = saved["wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original1"]
    assert torch.equal(trunk.tensors()["embed.position.weight.direction"], direction)
    assert torch.equal(trunk.tensors()["layers.1.q.bias"], saved["wav2vec2.encoder.layers.1.attention.q_proj.bias"])


def test_one_changed_number_is_another_fingerprint(folder: Path, trunk_of: Callable[[str], Backbone]) -> None:
    before = checkpoints.load(str(folder)).fingerprint
    assert before == trunk_of("wav2vec2").fingerprint
    name = "encoder.pos_conv_embed.conv.parametrizations.weight.original0"
    _change(folder, lambda tensors: tensors[name].view(-1)[3:4].add_(1e-4))
    assert checkpoints.load(str(folder)).fingerprint != before


def test_missing_and_surplus_tensors_are_refused_and_named(folder: Path) -> None:
    _change(folder, lambda tensors: tensors.update(surprise=torch.zeros(3)))
    _refused(str(folder), "Wav2Vec 2.0", "surprise")
    _change(folder, lambda tensors: tensors.pop("surprise"))
    _change(folder, lambda tensors: tensors.pop("encoder.layers.0.feed_forward.output_dense.weight"))
    _refused(str(folder), "output_dense.weight")


def test_another_kind_of_model_is_refused_by_its_configuration(tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    convolutions = {"conv_dim": (8,), "conv_kernel": (10,), "conv_stride": (5,), "num_conv_pos_embedding_groups": 4}
    # The name says wav2vec2; the configuration does not.
    place = tmp_path / "wav2vec2-base"
    HubertModel(HubertConfig(**sizes, **convolutions)).save_pretrained(place)
    _refused(str(place), "'hubert'", "AST", "Wav2Vec 2.0")


def test_one_with_adapters_of_its_own_is_refused(tmp_path: Path, save_wav2vec2: Callable[..., Path]) -> None:
    _refused(str(save_wav2vec2(tmp_path / "one", add_adapter=True)), "adapters of its own")
    stable = {"do_stable_layer_norm": True, "adapter_attn_dim": 4}
    _refused(str(save_wav2vec2(tmp_path / "two", **stable)), "adapters of its own")


# Parameters, without weights


@pytest.mark.parametrize(
    ("text", "classes", "parameters", "thousands"),
    [
        ("full", None, 90_170_496, 90_000),
        ("linear", 31, 23_839, 24),
        ("bottleneck:ffn,r=12", None, 248_976, 250),
        ("conformer:ffn,r=8,k=31", None, 270_720, 272),
    ],
)
def test_parameters_are_those_of_table_3(text: str, classes: int | None, parameters: int, thousands: int) -> None:
    """Of the conformer paper, which rounds them. 31 classes: Fluent Speech Commands."""
    shape, trunk_parameters = checkpoints.sizes(BASE)
    price = cost(parse(text), shape, classes=classes, trunk_parameters=trunk_parameters)
    assert price.trainable_parameters == parameters
    assert price.trainable_parameters == pytest.approx(1_000 * thousands, rel=0.01)


def test_sizes_need_no_weights(trunk: Backbone) -> None:
    assert checkpoints.sizes(trunk.name) == (trunk.shape, trunk.parameters)
    shape, parameters = checkpoints.sizes(BASE)
    # transformers counts 94,371,712: the stand-in for masked frames is no part of a trunk.
    assert (shape.width, shape.depth, shape.final_norm, parameters) == (768, 12, False, 94_371_712 - 768)


# Sharing


@pytest.fixture
def home(tmp_path: Path, trunk: Backbone, fresh: Callable[..., TaskModel], randomise: Any) -> Callable[[str], Manager]:
    """home(method): a manager whose one task, toy, was learned with that method."""

    def make(method: str) -> Manager:
        model = randomise(fresh(method, frames=60))
        registry = _registry(tmp_path / "home", trunk)
        labels = model.settings.labels
        new = NewVersion(
            method=model.settings.method.text,
            labels=labels,
            trainable_parameters=model.trainable_parameters(),
            seed=0,
            seconds=1.0,
        )
        registry.commit("toy", model.to_bytes(trunk, {}, {}), new)
        return Manager(registry, device="cpu")

    return make


def _registry(folder: Path, trunk: Backbone) -> Registry:
    registry = Registry.open(folder)
    # Not measured here, since nothing is routed: it would take seconds.
    background = b"background"
    registry.set_backbone(BackboneRecord(trunk.name, trunk.fingerprint, trunk.parameters, trunk.bytes, background))
    return registry


@pytest.mark.parametrize("method", ["lora:qkvo,r=3,s=0.7", "lora:q,r=2,s=3+lora:ffn,r=4,s=0.25", "conformer:r=2,k=3"])
def test_out_and_in_to_the_bit_and_peft_reads_a_lora(
    home: Callable[[str], Manager], trunk: Backbone, stock: Any, tmp_path: Path, features: Tensor, method: str
) -> None:
    manager = home(method)
    folder = manager.export("toy", tmp_path / "out")
    assert "Wav2Vec 2.0" in (folder / "README.md").read_text()
    guest = Manager(_registry(tmp_path / "guest", trunk), device="cpu")
    guest.import_(folder)
    expected = manager.model("toy").logits(features)
    assert torch.equal(guest.model("toy").logits(features), expected)
    assert guest.model("toy").settings == manager.model("toy").settings
    if not method.startswith("lora"):
        return
    peft = pytest.importorskip("peft")
    theirs = peft.PeftModel.from_pretrained(Wav2Vec2Model.from_pretrained(trunk.name), folder).eval()
    head = load_file(folder / "task.safetensors")
    with torch.inference_mode():
        found = theirs(features)[0].mean(dim=1) @ head["head.weight"].T + head["head.bias"]
        plain = stock(features)[0].mean(dim=1) @ head["head.weight"].T + head["head.bias"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(plain, expected, atol=1e-2)  # the adapter does something


def _write_head(folder: Path, front_end: dict[str, Any]) -> dict[str, Tensor]:
    """What docs/registry.md tells a peft user to write."""
    head = {"head.weight": torch.randn(2, 32), "head.bias": torch.randn(2)}
    facts = {"name": "theirs", "labels": ["dog", "rain"], "front_end": front_end}
    save_file(head, folder / "task.safetensors", metadata={"cl_ast": json.dumps(facts)})
    return head


def test_a_lora_of_peft_imports(trunk: Backbone, tmp_path: Path, features: Tensor) -> None:
    peft = pytest.importorskip("peft")
    options = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "out_proj"], "init_lora_weights": False}
    torch.manual_seed(0)
    model = peft.get_peft_model(Wav2Vec2Model.from_pretrained(trunk.name), peft.LoraConfig(**options)).eval()
    model.save_pretrained(tmp_path / "theirs")
    guest = Manager(_registry(tmp_path / "guest", trunk), device="cpu")
    for wrong in ({"frames": 128}, {"kind": "smell", "samples": 9_600}, {"kind": "waveform", "samples": "many"}):
        _write_head(tmp_path / "theirs", wrong)
        with pytest.raises(ClAstError):
            guest.import_(tmp_path / "theirs")
    assert guest.registry.tasks() == []
    head = _write_head(tmp_path / "theirs", {"kind": "waveform", "samples": 9_600})
    assert guest.import_(tmp_path / "theirs").version.method == "lora:qo,r=4,s=1.5"
    with torch.inference_mode():
        expected = model(features)[0].mean(dim=1) @ head["head.weight"].T + head["head.bias"]
        torch.testing.assert_close(guest.model("theirs").logits(features), expected, rtol=0, atol=1e-5)


# From clips to answers


def test_tasks_are_learned_routed_and_measured_over_it(
    tmp_path: Path, trunk_folder: Path, folder: Path, toy_clips: list[Path]
) -> None:
    for number, clip in enumerate(toy_clips):
        place = tmp_path / ("noise" if number % 2 else "tones") / f"class-{number // 2 % 2}"
        place.mkdir(parents=True, exist_ok=True)
        (place / clip.name).write_bytes(clip.read_bytes())
    tones, noise = (streams.load(str(tmp_path / name)) for name in ("tones", "noise"))
    options = TrainOptions(epochs=1, batch_size=6)
    step = [np.ones(4_800, dtype=np.float32)]
    with Manager.open(tmp_path / "registry", backbone=str(folder), device="cpu") as manager:
        manager.add_task(tones, method="conformer:r=2,k=3", options=options)
        learned = manager.add_task(noise, method="lora:qv,r=2", options=options)
        assert {one.task for one in learned.measured} == {"tones", "noise"}
        answers = list(manager.predict(toy_clips))
        assert {answer.task for answer in answers} == {"tones", "noise"}
        for clip, answer in zip(toy_clips, answers, strict=True):
            (named,) = manager.predict([clip], task=answer.task)
            assert [label for label, _ in answer.labels] == [label for label, _ in named.labels]
        report = manager.stats()
        assert report["metrics"]["oracle"]["forgetting"] == 0
        assert report["backbone"]["parameters"] == manager.backbone.parameters
        logits = manager.logits(step, "tones")
    with Manager.open(tmp_path / "registry", device="cpu") as again:
        assert torch.equal(again.logits(step, "tones"), logits)
    # A registry keeps the trunk that it was made with.
    other = Manager.open(tmp_path / "registry", backbone=str(trunk_folder), device="cpu")
    with other, pytest.raises(RegistryError, match="is another"):
        other.add_task(tones, method="linear", options=options, replace=True)


def test_a_registry_of_an_ast_refuses_it(tmp_path: Path, trunk_of: Callable[[str], Backbone], folder: Path) -> None:
    _registry(tmp_path / "ast", trunk_of("ast")).close()
    manager = Manager.open(tmp_path / "ast", backbone=str(folder), device="cpu")
    with manager, pytest.raises(RegistryError, match="is another"):
        assert manager.backbone


def test_the_recipe_of_a_data_set_brings_no_masks() -> None:
    recipe = recipe_for("esc50")
    assert recipe.time_mask and recipe.frequency_mask
    assert recipe.for_waveforms() == replace(recipe, time_mask=0, frequency_mask=0)
