"""The distributions of the augmenter: level, padding, mixtures, voiced frames, masks and others."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.errors import TrainingError
from cl_ast.pretrain import cache, effects, mel
from cl_ast.pretrain.augment import Augmenter, Batch
from cl_ast.pretrain.draws import Draws

DECIBELS = 10 / np.log(10)  # per unit of log energy

# Mean and standard deviation over clips, for (frames, hard). They were taken from 40,000 clips of the first augmenter,
# which drew on the CPU with numpy (commit 022dcbf), by `per_clip` of this file over `varied_clips`, stride 16.
GOLDEN = {
    (64, 0.0): {
        "padding": (0.1878, 0.2443),
        "masked": (0.0297, 0.0591),
        "level": (-21.3004, 15.6070),
        "tilt": (-12.9730, 12.5191),
        "colour": (7.7567, 3.7234),
        "swell": (3.6476, 2.9455),
        "floor": (-4.8976, 4.9299),
        "change": (3.0733, 0.5550),
        "mixture": (0.0000, 0.0000),
        "second": (0.0000, 0.0000),
        "sounds": (0.4033, 0.4906),
        "words": (0.1042, 0.3056),
        "voiced": (0.4027, 0.1754),
        "pitch": (-0.0629, 0.0712),
        "phonemes": (1.1761, 1.0765),
        "rate": (0.0006, 0.1201),
    },
    (96, 1.0): {
        "padding": (0.2012, 0.2599),
        "masked": (0.0290, 0.0581),
        "level": (-21.0708, 15.5653),
        "tilt": (-12.4638, 13.4735),
        "colour": (7.7032, 3.8554),
        "swell": (4.3802, 3.8610),
        "floor": (-5.8635, 5.6960),
        "change": (2.8275, 0.5852),
        "mixture": (0.2186, 0.4133),
        "second": (0.0636, 0.1307),
        "sounds": (0.3986, 0.4896),
        "words": (0.1902, 0.3924),
        "voiced": (0.3821, 0.1589),
        "pitch": (-0.0603, 0.0615),
        "phonemes": (1.0676, 1.0031),
        "rate": (0.0011, 0.1196),
    },
}


def varied_clips() -> cache.Clips:
    """Return clips of all kinds that differ in level, colour, loudness over time, pitch and phonemes."""
    rng = np.random.default_rng(7)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("mel", "phoneme", "pitch")}
    rows: list[tuple[int, ...]] = []
    for kind, count in (("word", 40), ("phrase", 40), ("sound", 66)):
        for number in range(count):
            length = int(rng.integers(30, cache.LIMITS[kind] + 1))
            time, bins = np.arange(length)[:, None] / length, np.arange(128)[None] / 128
            swell = 40 * np.sin(np.pi * time) * rng.random() + 10 * np.sin(rng.uniform(5, 60) * time)
            tilt = rng.uniform(-60, 20) * bins + 15 * np.sin(rng.uniform(3, 20) * bins)
            noise = rng.normal(0, 8, (length, 128))
            parts["mel"].append(np.clip(rng.uniform(80, 150) + swell + tilt + noise, 0, 255).astype(np.uint8))
            spoken = kind != "sound"
            wave = np.sin(rng.uniform(5, 40) * time[:, 0])
            parts["phoneme"].append((1 + np.arange(length) // 8 % 50).astype(np.uint8) * spoken)
            parts["pitch"].append(np.where(wave > 0, 60 + 100 * wave, 0).astype(np.uint8))
            labels = (-1, number if kind == "word" else -1, number % 24, number % 79, number % 8)
            rows.append((length, cache.KINDS.index(kind), *(labels if spoken else (number, -1, -1, -1, -1))))
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    return cache.Clips(**joined, table=np.array(rows, np.int32), prosody=np.zeros((len(rows), 4), np.float32))


def per_clip(batch: Batch) -> dict[str, Tensor]:
    """Return statistics of each clip of a batch (batch,). Levels are in dB; padded and masked cells are left out."""
    empty = (batch.features - mel.PADDING).abs() < 1e-6
    padding = empty.all(2).flip(1).int().cumprod(1).flip(1).bool()
    scale = 2 * LogMelFrontEnd(frames=100).std * DECIBELS
    energy = torch.where(empty, torch.nan, (batch.features - mel.PADDING) * scale)
    loudness, spectrum = energy.nanmean(2), energy.nanmean(1)
    middle = loudness.nanmean(1)
    return {
        "padding": padding.float().mean(1),
        "masked": (empty & ~padding[..., None]).float().mean((1, 2)),
        "level": DECIBELS * (energy / DECIBELS).exp().nanmean((1, 2)).log(),
        "tilt": spectrum[:, 96:].nanmean(1) - spectrum[:, :32].nanmean(1),
        "colour": (spectrum - spectrum.nanmean(1, keepdim=True)).square().nanmean(1).sqrt(),
        "swell": (loudness - middle[:, None]).square().nanmean(1).sqrt(),
        "floor": loudness.nanquantile(0.1, 1) - middle,
        "change": energy.diff(dim=1).abs().nanmean((1, 2)),
        "mixture": (batch.family.max(1).values < 0.999).float(),
        "second": 1 - batch.family.max(1).values,
        "sounds": (batch.labels["kind"] == cache.KINDS.index("sound")).float(),
        "words": (batch.labels["word"] >= 0).float(),
        "voiced": batch.pitch[..., 1].mean(1),
        "pitch": (batch.pitch[..., 0] * (batch.pitch[..., 1] > 0)).mean(1),
        "phonemes": batch.phonemes.sum(2).mean(1),
        "rate": batch.prosody[:, 2],
    }


@pytest.mark.slow
@pytest.mark.parametrize(("frames", "hard"), GOLDEN)
def test_distributions_are_those_of_the_first_augmenter(frames: int, hard: float) -> None:
    augmenter = Augmenter(varied_clips(), stride=16)
    batches = [per_clip(augmenter.batch(Draws("cpu", 5, number), 250, frames, hard)) for number in range(12)]
    wrong = []
    for name, (mean, deviation) in GOLDEN[frames, hard].items():
        values = torch.cat([batch[name] for batch in batches]).double()
        assert torch.isfinite(values).all(), name
        error = 3.5 / len(values) ** 0.5  # 3.5 standard errors
        squares = (values - mean).square()
        if abs(float(values.mean()) - mean) > error * deviation + 1e-6:
            wrong.append(f"{name}: mean {float(values.mean()):.4f}, expected {mean}")
        if abs(float(squares.mean()) - deviation**2) > error * float(squares.std()) + 1e-6:
            wrong.append(f"{name}: standard deviation {float(squares.mean().sqrt()):.4f}, expected {deviation}")
    assert not wrong, "\n".join(wrong)


def test_levels_are_half_around_a_usual_one_and_half_anywhere() -> None:
    levels = DECIBELS * effects.gains(Draws("cpu", 1), 100_000).flatten().double().log()
    # Half are normal (-4 dB, 6 dB), half uniform from -38 to 10 dB.
    usual, anywhere = 6**2 + 4**2, 48**2 / 12 + 14**2
    assert abs(float(levels.mean()) + 9) < 0.15
    assert abs(float(levels.square().mean()) - (usual + anywhere) / 2) < 4
    assert abs(float((levels < -25).double().mean()) - 13 / 48 / 2) < 0.01


def test_chosen_rows_are_as_many_as_their_probability_says_and_none_comes_twice() -> None:
    counts = torch.zeros(40)
    for key in range(400):
        rows = Draws("cpu", key).some(0.3, 40)
        assert len(set(rows.tolist())) == len(rows)
        counts[rows] += 1
    assert abs(float(counts.mean()) / 400 - 0.3) < 0.02
    assert float(counts.min()) > 80  # Every row is as likely as the others (binomial: 120, standard deviation 9).
    assert float(counts.max()) < 160


def test_draws_depend_on_every_part_of_their_key() -> None:
    keys = [(1, 2, 3), (1, 2, 4), (1, 3, 3), (2, 2, 3)]
    first = [tuple(Draws("cpu", *key).normal(3).tolist()) for key in keys]
    assert len(set(first)) == len(keys)
    assert first[0] == tuple(Draws("cpu", *keys[0]).normal(3).tolist())


def test_stored_frames_are_not_copied_on_the_cpu() -> None:
    clips = varied_clips()
    augmenter = Augmenter(clips, stride=16)
    before = augmenter.batch(Draws("cpu", 1), 2, 32, 0.0).features
    clips.mel[:] = 0
    assert not torch.equal(augmenter.batch(Draws("cpu", 1), 2, 32, 0.0).features, before)


def test_a_kind_without_clips_is_named() -> None:
    clips = varied_clips()
    clips.table[:, cache.COLUMNS.index("kind")] = cache.KINDS.index("word")
    with pytest.raises(TrainingError, match="no clips of kind 'phrase'"):
        Augmenter(clips, stride=16)
