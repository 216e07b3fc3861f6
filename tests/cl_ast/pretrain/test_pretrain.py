"""Tests of the program that makes ast-mini: its sounds, speech and batches, and a training of two steps."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ASTFeatureExtractor, ASTModel

from cl_ast.pretrain import cache, espeak, mel, sounds, speech
from cl_ast.pretrain.augment import Augmenter
from cl_ast.pretrain.draws import Draws
from cl_ast.pretrain.model import Backbone, Shape, pooled
from cl_ast.pretrain.options import Options
from cl_ast.pretrain.pitch import pitch_track
from cl_ast.pretrain.train import train

needs_espeak = pytest.mark.skipif(not espeak.available(), reason="espeak-ng is not installed")
TINY = Shape(width=32, depth=1, heads=2, hidden=64, frames=64)


def silent_speech(kind: str, count: int) -> cache.Clips:
    """Return clips that are labelled as speech but are sounds, so that espeak-ng is not needed."""
    clips = cache.render_chunk(1, "sound", 0, count)
    clips.table[:] = [
        (n, cache.KINDS.index(kind), -1, 3 if kind == "word" else -1, 0, 1, 2) for n in clips.column("length")
    ]
    clips.phoneme[:] = 5
    return clips


def joined(*parts: cache.Clips) -> cache.Clips:
    names = ("mel", "phoneme", "pitch", "table", "prosody")
    return cache.Clips(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@pytest.fixture(scope="module")
def clips() -> cache.Clips:
    return joined(silent_speech("word", 4), silent_speech("phrase", 4), cache.render_chunk(1, "sound", 1, 8))


@pytest.mark.slow
@pytest.mark.parametrize("family", sounds.NAMES)
def test_a_family_gives_finite_sound_of_the_length_asked_for_and_the_same_for_a_seed(family: str) -> None:
    one, two = (sounds.render(np.random.default_rng(7), family, 41_200) for _ in range(2))
    assert one.shape == (41_200,)
    assert np.isfinite(one).all()
    assert one.std() > 0.01
    np.testing.assert_array_equal(one, two)


def test_other_seeds_give_other_sounds() -> None:
    one, two = (sounds.render(np.random.default_rng(seed), "bark", 8_000) for seed in (1, 2))
    assert not np.allclose(one, two)


def test_a_chunk_depends_on_its_seed_kind_and_index_alone() -> None:
    one, two, other = (cache.render_chunk(seed, "sound", 0, 3) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.mel, two.mel)
    assert not np.array_equal(one.mel, other.mel)


def test_features_equal_the_published_front_end() -> None:
    samples = np.random.default_rng(0).standard_normal(9_000).astype(np.float32) * 0.1
    frames = mel.log_mel(samples)
    expected = ASTFeatureExtractor(max_length=len(frames))(samples, sampling_rate=16_000, return_tensors="pt")
    torch.testing.assert_close(mel.normalise(torch.from_numpy(frames)), expected["input_values"][0], atol=1e-4, rtol=0)


def test_bytes_keep_features_within_half_a_step() -> None:
    features = np.linspace(-15.9, 9.4, 1_000, dtype=np.float32)
    back = cache.from_bytes(torch.from_numpy(cache.to_bytes(features)))
    assert float((back - torch.from_numpy(features)).abs().max()) < 0.051


def test_pitch_is_found_where_there_is_one() -> None:
    t = np.arange(16_000) / 16_000
    track = pitch_track(np.sin(2 * np.pi * 200 * t), 98)
    octaves = (track[10:-10].astype(float) - 1) / 254 * np.log2(10)
    np.testing.assert_allclose(60 * 2**octaves, 200, rtol=0.03)
    noise = pitch_track(np.random.default_rng(0).standard_normal(16_000), 98)
    assert (noise > 0).mean() < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("frames", [16, 32, 100, 300])
def test_batches_are_finite_at_any_length_and_the_same_for_a_seed(clips: cache.Clips, frames: int) -> None:
    one, two = (Augmenter(clips, stride=16).batch(Draws("cpu", 3), 6, frames, hard=1.0) for _ in range(2))
    assert one.features.shape == (6, frames, 128)
    assert torch.isfinite(one.features).all()
    torch.testing.assert_close(one.family.sum(1), torch.ones(6))
    assert one.phonemes.shape[:2] == (6, (frames - 16) // 16 + 1)
    torch.testing.assert_close(one.features, two.features)


def test_padding_is_what_the_front_end_pads_with(clips: cache.Clips) -> None:
    batch = Augmenter(clips, stride=16).batch(Draws("cpu", 0), 32, 200, hard=0.0)
    ends = batch.features[:, -1]
    padded = (ends - mel.PADDING).abs().max(1).values < 1e-6
    assert padded.any()
    assert not padded.all()


@pytest.mark.slow
def test_two_steps_move_the_weights_and_write_a_folder_that_loads(clips: cache.Clips, tmp_path: Path) -> None:
    torch.manual_seed(1)
    options = Options(steps=2, validate_every=1, batch_frames=600, shape=TINY, warmup_steps=1)
    train(clips, clips, tmp_path, options)
    model, info = ASTModel.from_pretrained(tmp_path / "backbone", dtype=torch.float32, output_loading_info=True)
    assert not any(info.values())
    fresh = _fresh(options)
    moved = model.layers[0].mlp.fc1.weight - fresh.layers[0].mlp.fc1.weight.half().float()
    assert float(moved.detach().abs().max()) > 1e-4
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    out = pooled(Backbone(model)(torch.randn(2, 100, 128)))
    assert out.shape == (2, 64)
    assert torch.isfinite(out).all()


def _fresh(options: Options) -> ASTModel:
    from cl_ast.pretrain.model import Pretraining

    torch.manual_seed(options.seed)
    return Pretraining(options.shape).backbone.stock


def test_the_vocabulary_follows_its_rule() -> None:
    words = speech.vocabulary()
    assert len(words["en"]) == 240
    assert all(len(words[language]) == 100 for language in words if language != "en")
    assert all(len(word) >= 3 for language in words for word in words[language])
    assert len(speech.word_classes()) == 240 + 8 * 40


def test_phonemes_are_classed_by_their_base_letter() -> None:
    assert speech.phoneme_class("") == 0
    assert speech.phoneme_class("iː") == speech.phoneme_class("i") > 0
    assert speech.phoneme_class("?") == len(speech.PHONEMES) + 1


@needs_espeak
@pytest.mark.parametrize("kind", ["word", "phrase"])
def test_speech_is_short_enough_and_labelled_the_same_for_a_seed(kind: str) -> None:
    one, two = (cache.render_chunk(5, kind, 0, 4) for _ in range(2))
    assert len(one) == 4
    assert (one.column("length") <= cache.LIMITS[kind]).all()
    assert (one.phoneme > 0).mean() > 0.5
    assert ((one.column("word") >= 0) == (kind == "word")).all()
    np.testing.assert_array_equal(one.table[:, 1:], two.table[:, 1:])


@pytest.mark.slow
@needs_espeak
def test_speech_of_a_fresh_process_is_exactly_the_same(tmp_path: Path) -> None:
    for name in ("one", "two"):
        cache.render(tmp_path / name, 5, {"word": 1}, 3, 1)
    one, two = (cache.load(tmp_path / name, {"word": range(1)}) for name in ("one", "two"))
    np.testing.assert_array_equal(one.mel, two.mel)
    np.testing.assert_array_equal(one.phoneme, two.phoneme)


@needs_espeak
def test_rate_and_phonemes_of_synthesised_speech() -> None:
    speaker = espeak.espeak()
    assert speaker.voice("en-us+m3")
    slow, fast = (speaker.say("different", rate=rate) for rate in (110, 300))
    assert len(slow.samples) > 1.4 * len(fast.samples)
    assert [name for name, _ in slow.phonemes if name]
    assert not speaker.voice("no-such-language")
