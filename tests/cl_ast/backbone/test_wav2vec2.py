"""The second backbone, Wav2Vec 2.0: its front end, the stock model while nothing is attached, and its checkpoints."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    SEWConfig,
    SEWModel,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2ForPreTraining,
)

from cl_ast.adapters.spec import cost, parse
from cl_ast.audio.raw_samples import MAX_SAMPLES, MIN_SAMPLES, WaveformFrontEnd
from cl_ast.backbone import pretrained as checkpoints
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import AudioError, BackboneError
from tests.cl_ast.conftest import BackboneOf, Fresh, SaveModel, Sine

BASE = "facebook/wav2vec2-base"


@pytest.fixture(scope="module")
def backbone(wav2vec2: Backbone) -> Backbone:
    return wav2vec2


@pytest.fixture
def folder(tmp_path: Path, save_wav2vec2: SaveModel) -> Path:
    return save_wav2vec2(tmp_path / "backbone")


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


# Its front end


@pytest.mark.parametrize("seconds", [0.2, 0.5, 0.8])
def test_the_front_end_is_that_of_transformers(sine: Sine, seconds: float) -> None:
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


# The backbone


@pytest.mark.parametrize("samples", [170, 171, 9_600, 9_760])
def test_with_nothing_attached_it_is_the_stock_model_exactly(backbone: Backbone, stock: Any, samples: int) -> None:
    clips = torch.randn(3, samples, generator=torch.Generator().manual_seed(samples))
    with torch.inference_mode():
        ours = backbone.norm(backbone.run(backbone.embed(clips)))
        assert torch.equal(ours, stock(clips).last_hidden_state)


def test_long_clips_are_convolved_a_few_at_a_time_to_the_same_tokens(backbone: Backbone, stock: Any) -> None:
    clips = torch.randn(3, 200_000, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        hidden = stock.feature_projection(stock.feature_extractor(clips).transpose(1, 2))[0]
        hidden = hidden + stock.encoder.pos_conv_embed(hidden)
        hidden = hidden if backbone.shape.final_norm else stock.encoder.layer_norm(hidden)
        torch.testing.assert_close(backbone.embed(clips), hidden, rtol=0, atol=1e-5)


def test_positions_can_be_left_out(backbone: Backbone, stock: Any, features: Tensor) -> None:
    with torch.inference_mode():
        hidden = stock.feature_projection(stock.feature_extractor(features).transpose(1, 2))[0]
        plain = hidden if backbone.shape.final_norm else stock.encoder.layer_norm(hidden)
        torch.testing.assert_close(backbone.embed(features, positions="zeros"), plain, rtol=0, atol=1e-5)
        assert not torch.allclose(backbone.embed(features), plain, atol=1e-2)


def test_fewer_samples_than_one_token_takes_are_refused(backbone: Backbone) -> None:
    with pytest.raises(BackboneError, match="169 samples are fewer than the 170"):
        backbone.embed(torch.zeros(1, 169))


def test_nothing_of_pretraining_acts_in_training(backbone: Backbone, fresh: Fresh) -> None:
    """Masking, dropout and layer drop: 10 % and more of everything, in the configuration of the published ones."""
    config = backbone.model.config
    assert config.mask_time_prob > 0 and config.layerdrop > 0 and config.hidden_dropout > 0
    model = fresh("full")
    clips = torch.randn(2, 9_600, generator=torch.Generator().manual_seed(2))
    with model.adapter.training_mode():
        assert torch.equal(model.logits(clips), model.logits(clips))
    assert not any(module.training for module in model.backbone.model.modules())


def test_tensors_have_our_own_names_and_hold_the_whole_model_but_the_mask(backbone: Backbone, stock: Any) -> None:
    ours = backbone.tensors()
    assert backbone.parameters == sum(p.numel() for name, p in stock.named_parameters() if name != "masked_spec_embed")
    assert not any("layer_norm" in name or "_proj" in name or "parametrizations" in name for name in ours)
    assert torch.equal(ours["layers.1.o.weight"], stock.encoder.layers[1].attention.out_proj.weight)
    assert torch.equal(ours["layers.0.norm_mhsa.bias"], stock.encoder.layers[0].layer_norm.bias)
    assert torch.equal(ours["embed.conv.1.weight"], stock.feature_extractor.conv_layers[1].conv.weight)
    last = "norm.weight" if backbone.shape.final_norm else "embed.norm.weight"
    assert torch.equal(ours[last], stock.encoder.layer_norm.weight)
    conv = stock.encoder.pos_conv_embed.conv
    magnitude, direction = (ours[f"embed.position.weight.{part}"] for part in ("magnitude", "direction"))
    expected = magnitude * direction / direction.square().sum(dim=(0, 1), keepdim=True).sqrt()
    torch.testing.assert_close(conv.weight, expected)


def test_a_copy_has_the_same_weights_and_is_its_own(backbone: Backbone, features: Tensor) -> None:
    twin = backbone.copy()
    before = backbone.run(backbone.embed(features))
    assert twin.fingerprint == backbone.fingerprint
    assert torch.equal(twin.run(twin.embed(features)), before)
    with torch.no_grad():
        twin.tensors()["embed.position.weight.magnitude"].mul_(2)
    assert not torch.allclose(twin.run(twin.embed(features)), before)
    assert torch.equal(backbone.run(backbone.embed(features)), before)


# Checkpoints


@pytest.mark.parametrize("model", [Wav2Vec2ForPreTraining, Wav2Vec2ForCTC])
def test_a_checkpoint_as_on_the_hub_is_a_backbone(tmp_path: Path, save_wav2vec2: SaveModel, model: Any) -> None:
    """With heads that a backbone does without, and the older names of the weight-normed convolution."""
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
    backbone = checkpoints.load(str(place))
    direction = saved["wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original1"]
    assert torch.equal(backbone.tensors()["embed.position.weight.direction"], direction)
    assert torch.equal(backbone.tensors()["layers.1.q.bias"], saved["wav2vec2.encoder.layers.1.attention.q_proj.bias"])


def test_one_changed_number_is_another_fingerprint(folder: Path, backbone_of: BackboneOf) -> None:
    before = checkpoints.load(str(folder)).fingerprint
    assert before == backbone_of("wav2vec2").fingerprint
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
    convolutions |= {"squeeze_factor": 2, "num_conv_pos_embeddings": 4}
    # The name says wav2vec2; the configuration does not.
    place = tmp_path / "wav2vec2-base"
    SEWModel(SEWConfig(**sizes, **convolutions)).save_pretrained(place)
    known = ("wav2vec2", "hubert", "unispeech", "unispeech-sat", "data2vec-audio", "wavlm")
    _refused(str(place), "'sew'", "AST (audio-spectrogram-transformer)", *(f"({kind})" for kind in known))


def test_one_with_adapters_of_its_own_is_refused(tmp_path: Path, save_wav2vec2: SaveModel) -> None:
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
    shape, backbone_parameters = checkpoints.sizes(BASE)
    price = cost(parse(text), shape, classes=classes, backbone_parameters=backbone_parameters)
    assert price.trainable_parameters == parameters
    assert price.trainable_parameters == pytest.approx(1_000 * thousands, rel=0.01)


def test_sizes_need_no_weights(backbone: Backbone) -> None:
    assert checkpoints.sizes(backbone.name) == (backbone.shape, backbone.parameters)
    shape, parameters = checkpoints.sizes(BASE)
    # transformers counts 94,371,712: the stand-in for masked frames is no part of a backbone.
    assert (shape.width, shape.depth, shape.final_norm, parameters) == (768, 12, False, 94_371_712 - 768)
