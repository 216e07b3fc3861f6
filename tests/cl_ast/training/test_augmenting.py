"""Augmentation: what it does to sounds, on log-mel and on samples; padding stays; nothing else is drawn or changed."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.audio.raw_samples import WaveformFrontEnd
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import TrainingError
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.augmenting import Augment, LogMelSounds, SampleSounds, augmentation, shifted
from cl_ast.training.cached_states import CachedStates, SplitForward
from cl_ast.training.clips import ClipSet
from cl_ast.training.distributed import Group
from cl_ast.training.options import Hyperparameters
from cl_ast.training.trainer import train
from tests.cl_ast.conftest import Fresh, Sine, Toy

FRONT_END = LogMelFrontEnd(60)
LABELS = ("tone", "noise")


@pytest.fixture
def waveforms(sine: Sine) -> list[np.ndarray]:
    """A tone of the whole length, and noise of half of it."""
    noise = np.random.default_rng(3).normal(size=4_800).astype(np.float32)
    return [sine(500, 0.6, level=0.2), 0.1 * noise]


def _made(model: TaskModel, **options: object) -> Augment:
    augment = augmentation(model, Hyperparameters(**options))  # type: ignore[arg-type]
    assert augment is not None
    return augment


def test_gain_on_log_mel_is_that_of_the_samples(waveforms: list[np.ndarray]) -> None:
    decibels = torch.tensor([6.0, -6.0])
    louder = [(w * 10 ** (float(d) / 20)).astype(np.float32) for w, d in zip(waveforms, decibels, strict=True)]
    found = LogMelSounds(FRONT_END).louder(FRONT_END(waveforms), decibels)
    # Quiet bins of a tone are at the floor of log-mel, which gain does not move.
    torch.testing.assert_close(found[1], FRONT_END(louder)[1], rtol=0, atol=1e-3)
    loud = FRONT_END(waveforms)[0] > 0
    torch.testing.assert_close(found[0][loud], FRONT_END(louder)[0][loud], rtol=0, atol=1e-3)


def test_padding_stays_padding(waveforms: list[np.ndarray]) -> None:
    features = FRONT_END(waveforms)
    padded = features[1, 40:]
    assert bool(((padded - FRONT_END.padding).abs() < 1e-6).all())
    sounds = LogMelSounds(FRONT_END)
    both = features[[1, 1]]
    for changed in (
        sounds.louder(both, torch.tensor([6.0, 6.0])),
        sounds.noisy(both, torch.tensor([10.0, 10.0])),
        sounds.mixed(both, both, torch.tensor([0.5, 0.2])),
    ):
        assert bool((changed[:, 40:] == FRONT_END.padding).all())
        assert bool(torch.isfinite(changed).all())


def test_mixup_on_log_mel_adds_the_energies(waveforms: list[np.ndarray]) -> None:
    share = 0.3
    mixed = math.sqrt(share) * waveforms[0][:4_800] + math.sqrt(1 - share) * waveforms[1]
    together = mixed.astype(np.float32)
    one, other = FRONT_END(waveforms)
    found = LogMelSounds(FRONT_END).mixed(one[None], other[None], torch.tensor([share]))[0]
    wanted = FRONT_END([together])[0]
    # Energies add up on average only, since two sounds are not exactly uncorrelated.
    difference = (found[:28] - wanted[:28]).abs() * 2 * FRONT_END.std
    assert float(difference.median()) < 0.3
    alone = LogMelSounds(FRONT_END).mixed(one[None], other[None], torch.tensor([1.0]))[0]
    torch.testing.assert_close(alone, one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("decibels", [10.0, 30.0])
def test_noise_has_the_wanted_ratio(waveforms: list[np.ndarray], decibels: float) -> None:
    features = FRONT_END(waveforms[:1])
    found = LogMelSounds(FRONT_END).noisy(features, torch.tensor([decibels]))

    def energy(x: Tensor) -> float:
        return float((x * 2 * FRONT_END.std + FRONT_END.mean).exp()[0, :58].mean())

    added = energy(found) - energy(features)
    assert 10 * math.log10(energy(features) / added) == pytest.approx(decibels, abs=0.5)
    assert bool((found >= features - 1e-4).all())


def test_a_shift_moves_and_fills() -> None:
    features = torch.arange(10.0).repeat(3, 1)
    moved = shifted(features, torch.tensor([2, -3, 0]), -1.0)
    assert moved[0].tolist() == [-1, -1, *range(8)]
    assert moved[1].tolist() == [*range(3, 10), -1, -1, -1]
    assert torch.equal(moved[2], features[2])
    assert torch.equal(shifted(features[..., None], torch.tensor([2, -3, 0]), -1.0)[..., 0], moved)


def test_samples_are_brought_to_one_level_again(waveforms: list[np.ndarray]) -> None:
    samples = WaveformFrontEnd(9_600)(waveforms)
    sounds = SampleSounds(normalise=True)
    for changed in (sounds.noisy(samples, torch.tensor([10.0, 20.0])), sounds.mixed(samples, samples, torch.ones(2))):
        assert float(changed[0].var(correction=0)) == pytest.approx(1, abs=1e-3)
        assert float(changed[1, :4_800].var(correction=0)) == pytest.approx(1, abs=1e-3)
        assert bool((changed[1, 4_800:] == 0).all())
    plain = WaveformFrontEnd(9_600, normalise=False)(waveforms)
    louder = SampleSounds(normalise=False).louder(plain, torch.tensor([6.0, -6.0]))
    torch.testing.assert_close(louder[0], plain[0] * 10**0.3)


def test_mixup_gives_shares_and_the_others_leave_the_classes(fresh: Fresh, features: Tensor) -> None:
    model, targets = fresh("lora"), torch.tensor([0, 1, 2])
    torch.manual_seed(0)
    changed, shares = _made(model, augment="mixup")(features, targets)
    assert shares.shape == (3, 3) and changed.shape == features.shape
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(3))
    changed, same = _made(model, augment="shift, noise,gain")(features, targets)
    assert same is targets and not torch.equal(changed, features)
    assert augmentation(model, Hyperparameters()) is None


def test_mixup_mixes_the_tags_of_two_clips_by_their_shares(fresh: Fresh, features: Tensor) -> None:
    model = fresh("lora", labels=("a", "b", "c"))
    model.settings = replace(model.settings, kind="tags")
    tags = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])[: len(features)]
    _, shares = _made(model, augment="mixup")(features, tags)
    assert torch.allclose(shares[:, 0], torch.ones(len(features)))  # all clips have it
    assert bool((shares[:, 2] == 0).all()) and bool(((shares >= 0) & (shares <= 1)).all())
    _, same = _made(model, augment="shift")(features, tags)
    assert torch.equal(same, tags)


def test_what_is_drawn_follows_from_the_seed(fresh: Fresh, features: Tensor) -> None:
    augment, targets = _made(fresh("lora"), augment="mixup,noise,gain,shift", time_mask=4), torch.tensor([0, 1, 2])

    def drawn(seed: int) -> tuple[Tensor, Tensor]:
        torch.manual_seed(seed)
        return augment(features, targets)

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_each_process_has_its_rows_of_the_same_batch(fresh: Fresh, toy: Toy) -> None:
    model = fresh("full", labels=LABELS, frames=30)
    augment, clips = _made(model, augment="mixup,noise,shift"), toy(0, 8)

    def batch(group: Group) -> tuple[Tensor, Tensor]:
        torch.manual_seed(5)
        return CachedStates(clips, SplitForward(model), augment, group).batch(range(8))

    whole, (first, _), (_, second) = batch(Group()), batch(Group(0, 2)), batch(Group(1, 2))
    assert torch.equal(first, whole[0][::2]) and torch.equal(second, whole[1][1::2])


@pytest.mark.slow
def test_a_training_is_repeatable_and_learns(fresh: Fresh, toy: Toy) -> None:
    options = Hyperparameters(epochs=6, batch_size=8, learning_rate=3e-3, augment="mixup,noise,gain,shift")

    def weights() -> tuple[float, dict[str, Tensor]]:
        model = fresh("bottleneck", labels=LABELS, frames=30)
        return train(model, toy(0, 32), toy(32, 48), options).accuracy, model.state()

    (accuracy, first), (_, second) = weights(), weights()
    assert accuracy > 0.8
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_gain_is_refused_where_it_changes_nothing(wav2vec2: Backbone, fresh: Fresh, toy_clips: list[Path]) -> None:
    model = fresh("lora", backbone=wav2vec2, labels=LABELS, frames=30)
    front_end = wav2vec2.front_end(0.3)
    clips = ClipSet(toy_clips[:8], [n % 2 for n in range(8)], front_end)
    assert isinstance(front_end, WaveformFrontEnd)
    if front_end.normalise:
        with pytest.raises(TrainingError, match=r"gain.*--augment"):
            train(model, clips, clips, Hyperparameters(epochs=1, augment="gain"))
    train(model, clips, clips, Hyperparameters(epochs=1, batch_size=4, augment="mixup,noise,shift"))


def test_words_that_are_none_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"'echo'.*mixup, noise, gain, shift"):
        Hyperparameters(augment="mixup,echo")
