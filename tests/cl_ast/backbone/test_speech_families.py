"""The relatives of Wav2Vec 2.0: HuBERT, UniSpeech, UniSpeech-SAT, data2vec-audio and WavLM as backbones."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import Wav2Vec2FeatureExtractor

from cl_ast.adapters.spec import cost, parse
from cl_ast.audio.raw_samples import WaveformFrontEnd
from cl_ast.backbone import pretrained as checkpoints
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.sites import SITES, Act
from cl_ast.errors import BackboneError
from cl_ast.tasks import mixed_batch
from cl_ast.tasks.merging import merged
from tests.cl_ast.adapters.test_methods import SPECS
from tests.cl_ast.conftest import BackboneOf, Fresh, Randomise, SaveModel, read_again

RELATIVES = ("hubert", "unispeech", "unispeech-sat", "data2vec-audio", "wavlm")
VARIANTS = (*RELATIVES, *(f"{kind}-stable" for kind in RELATIVES if kind != "data2vec-audio"))
# The layers of all but WavLM are those of Wav2Vec 2.0, over which tests/cl_ast/adapters/test_methods.py runs every
# method. Here one of each kind runs over them, and every one over WavLM.
SOME = ("linear", "conformer", "lora:qv,r=2", "lora:ffn,r=2", "prefix:n=4", "prompt:deep,n=3", "ssf", "full:top=1")
HEADS = {
    "hubert": "Hubert",
    "unispeech": "UniSpeech",
    "unispeech-sat": "UniSpeechSat",
    "data2vec-audio": "Data2VecAudio",
    "wavlm": "WavLM",
}


@pytest.fixture(scope="module", params=VARIANTS)
def backbone(request: pytest.FixtureRequest, backbone_of: BackboneOf) -> Backbone:
    return backbone_of(request.param)


@pytest.fixture(scope="module")
def stock(backbone: Backbone) -> Any:
    """What transformers itself makes of that backbone's checkpoint, frozen: torch runs weights that train otherwise."""
    family = backbone.family
    found = family.model_class().from_pretrained(backbone.name, attn_implementation=family.attention)
    return found.eval().requires_grad_(False)


class Acting:
    """An adapter that multiplies the output of one site."""

    def __init__(self, site: str, factor: float, layer: int = 1) -> None:
        self._act: Callable[[Callable[[Any], Tensor], Any], Tensor] = lambda run, x: factor * run(x)
        self._at = (layer, site)

    def acts(self) -> Mapping[tuple[int, str], Act]:
        return {self._at: self._act}


# The stock model


@pytest.mark.slow
def test_with_nothing_attached_it_is_the_stock_model_exactly(backbone: Backbone, stock: Any) -> None:
    for samples in (170, 4_960, 9_600):  # 1, 31 and 60 tokens
        clips = torch.randn(3, samples, generator=torch.Generator().manual_seed(samples))
        with torch.inference_mode():
            expected = stock(clips).last_hidden_state
            assert torch.equal(backbone.norm(backbone.run(backbone.embed(clips))), expected)
            # The router and cached states run some of the layers at a time.
            half = backbone.run(backbone.embed(clips), last=1)
            assert torch.equal(backbone.norm(backbone.run(half, first=1)), expected)


def test_its_tensors_are_the_whole_model_but_the_mask(backbone: Backbone, stock: Any, features: Tensor) -> None:
    ours = backbone.tensors()
    theirs = {name: one for name, one in stock.named_parameters() if name != "masked_spec_embed"}
    assert len(ours) == len(theirs) and backbone.parameters == sum(one.numel() for one in theirs.values())
    assert torch.equal(ours["layers.1.o.weight"], stock.encoder.layers[1].attention.out_proj.weight)
    assert checkpoints.sizes(backbone.name) == (backbone.shape, backbone.parameters)
    layer = sum(one.numel() for name, one in ours.items() if name.startswith("layers.1."))
    assert layer == backbone.shape.layer_parameters == cost(parse("full:top=1"), backbone.shape).trainable_parameters
    twin = backbone.copy()
    with torch.inference_mode():
        assert torch.equal(twin.run(twin.embed(features)), backbone.run(backbone.embed(features)))


def test_no_two_have_one_fingerprint(backbone_of: BackboneOf) -> None:
    prints = {backbone_of(kind).fingerprint for kind in (*VARIANTS, "wav2vec2", "wav2vec2-stable")}
    assert len(prints) == len(VARIANTS) + 2


# Checkpoints


@pytest.mark.slow
@pytest.mark.parametrize("kind", RELATIVES)
def test_checkpoints_with_heads_are_backbones(tmp_path: Path, save_wav2vec2: SaveModel, kind: str) -> None:
    sizes = {"vocab_size": 8, "use_weighted_layer_sum": True, "tdnn_dim": (8, 8), "tdnn_kernel": (1, 1)}
    sizes |= {"tdnn_dilation": (1, 1), "xvector_output_dim": 8, "classifier_proj_size": 8, "num_clusters": 4}
    sizes |= {"codevector_dim": 16, "proj_codevector_dim": 16, "num_codevectors_per_group": 4, "num_ctc_classes": 4}
    found = []
    for head in ("ForPreTraining", "ForCTC", "ForSequenceClassification", "ForAudioFrameClassification", "ForXVector"):
        model = getattr(transformers, HEADS[kind] + head, None)
        if model is not None:
            place = save_wav2vec2(tmp_path / head, model=model, kind=kind, **sizes)
            backbone = checkpoints.load(str(place))
            expected = model.from_pretrained(place).base_model.encoder.layers[1].attention.q_proj.bias
            assert torch.equal(backbone.tensors()["layers.1.q.bias"], expected)
            found.append(head)
    assert {"ForCTC", "ForSequenceClassification"} <= set(found)


@pytest.mark.parametrize("kind", RELATIVES)
def test_the_checkpoint_says_whether_clips_are_normalised(
    tmp_path: Path, save_wav2vec2: SaveModel, backbone_of: BackboneOf, kind: str
) -> None:
    model = backbone_of(kind).family.model_class()
    place = save_wav2vec2(tmp_path / kind, model=model, kind=kind)
    assert checkpoints.load(str(place)).front_end(1.0) == WaveformFrontEnd(16_000)
    # As that of microsoft/wavlm-base says.
    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(place)
    plain = checkpoints.load(str(place))
    assert plain.front_end(1.0) == WaveformFrontEnd(16_000, normalise=False)
    assert plain.fingerprint != backbone_of(kind).fingerprint


def test_a_hubert_without_a_norm_before_its_projection_works(tmp_path: Path, save_wav2vec2: SaveModel) -> None:
    """As the distilled ones are."""
    model = transformers.HubertModel
    place = save_wav2vec2(tmp_path / "distilled", model=model, kind="hubert", feat_proj_layer_norm=False)
    backbone, clips = checkpoints.load(str(place)), torch.randn(2, 1_000)
    # Where weights take no gradient, torch multiplies this projection's input in another order.
    stock = model.from_pretrained(place, attn_implementation="sdpa").eval().requires_grad_(False)
    with torch.inference_mode():
        assert torch.equal(backbone.run(backbone.embed(clips)), stock(clips).last_hidden_state)


def test_a_hubert_with_a_batch_norm_is_refused(tmp_path: Path, save_wav2vec2: SaveModel) -> None:
    model = transformers.HubertModel
    place = save_wav2vec2(tmp_path / "normed", model=model, kind="hubert", conv_pos_batch_norm=True)
    with pytest.raises(BackboneError, match="has a batch norm before its positions"):
        checkpoints.load(str(place))


# Adapters


def test_an_adapter_acts_at_every_site(backbone: Backbone, features: Tensor) -> None:
    tokens = backbone.embed(features)
    plain = backbone.run(tokens)
    for site in SITES:
        with backbone.attached(Acting(site, 2)):
            assert not torch.allclose(backbone.run(tokens), plain), site
        assert torch.equal(backbone.run(tokens), plain), site


def test_attention_that_is_computed_here_is_the_stock_one(backbone: Backbone, features: Tensor) -> None:
    """While something acts inside attention, it is computed here, with the position bias of WavLM."""
    tokens = backbone.embed(features)
    plain = backbone.run(tokens)
    for site in ("heads", "q", "o"):
        with backbone.attached(Acting(site, 1, layer=0)):
            torch.testing.assert_close(backbone.run(tokens), plain, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_every_method_works_over_it(
    backbone: Backbone, backbone_of: BackboneOf, fresh: Fresh, randomise: Randomise, features: Tensor
) -> None:
    plain = backbone.run(backbone.embed(features))
    models = []
    for text in SPECS if backbone.name == backbone_of("wavlm").name else SOME:
        model = fresh(text)
        with model.acting(), torch.inference_mode():
            started = model.backbone.run(model.embed(features))
        if model.settings.method.starts_plain:
            torch.testing.assert_close(started[:, -plain.shape[1] :], plain, rtol=1e-4, atol=1e-4)
        if model.settings.method.trains != "backbone" and "onebit" not in text:
            models.append(randomise(model))
            model.finish()
        loaded = read_again(model, backbone)
        assert torch.equal(loaded.logits(features), model.logits(features)), text
    # Rows of different tasks share a pass.
    batch = [(model, features[row % 3]) for row, model in enumerate(models)]
    with torch.inference_mode():
        for (model, one), logits in zip(batch, mixed_batch.logits(batch), strict=True):
            torch.testing.assert_close(logits, model.logits(one[None])[0], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_merged_it_answers_the_same(fresh: Fresh, randomise: Randomise, features: Tensor) -> None:
    """Merged, WavLM's stock attention reads the changed weights; before, attention is computed here."""
    model = randomise(fresh("lora:qkvo+lora:ffn"))
    assert not torch.allclose(model.logits(features), fresh("linear").logits(features), atol=1e-2)
    torch.testing.assert_close(merged(model).logits(features), model.logits(features), rtol=0, atol=1e-4)


# WavLM's position bias


@pytest.mark.parametrize("kind", ["wavlm", "wavlm-stable"])
def test_the_position_bias_does_something_and_is_trained_with_the_backbone(
    backbone_of: BackboneOf, features: Tensor, kind: str
) -> None:
    backbone = backbone_of(kind)
    copy = backbone.copy(trained=True)
    tokens = backbone.embed(features)
    table = copy.tensors()["embed.distance"].requires_grad_(True)
    copy.run(tokens).square().sum().backward()  # type: ignore[no-untyped-call]
    assert table.grad is not None and table.grad.abs().max() > 0
    with torch.no_grad():
        table.zero_()
        assert not torch.allclose(copy.run(tokens), backbone.run(tokens), atol=1e-3)


def test_wavlm_computes_in_bf16_with_and_without_adapters(
    backbone_of: BackboneOf, fresh: Fresh, randomise: Randomise
) -> None:
    backbone = backbone_of("wavlm")
    clips = torch.randn(2, 3_000, generator=torch.Generator().manual_seed(4))
    models = [randomise(fresh(text, backbone=backbone)) for text in ("conformer:r=2,k=3", "lora:qv,r=2", "prefix:n=4")]
    with torch.inference_mode():
        for model in models:
            exact = model.logits(clips)
            with backbone.precision("bf16"):
                rounded = model.logits(clips)
            assert not torch.equal(rounded, exact)
            torch.testing.assert_close(rounded.float(), exact, rtol=0, atol=0.15)


def test_neighbours_that_move_together_change_nothing_else(backbone_of: BackboneOf) -> None:
    """A prompt's tokens stand before the clip's, so the distances between the clip's tokens stay the same."""
    attention = backbone_of("wavlm").family.layer_options(backbone_of("wavlm").model)["position_bias"]
    short, long = (attention.of(1, tokens) for tokens in (5, 8))  # type: ignore[attr-defined]
    assert torch.equal(short, long[:, 3:, 3:])
    assert all(torch.equal(one[1:, 1:], one[:-1, :-1]) for one in long)
    assert any(not torch.equal(one, other) for one, other in pairwise(long[0]))
