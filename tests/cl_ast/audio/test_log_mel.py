"""Log-mel features as Kaldi and transformers make them."""

import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import ASTFeatureExtractor
from transformers.utils import is_speech_available

from cl_ast.audio.log_mel import BINS, LogMelFrontEnd, frame_count, log_mel
from cl_ast.errors import AudioError
from tests.cl_ast.conftest import Sine

few = settings(max_examples=30, deadline=None, derandomize=True)


def _clip(seed: int, samples: int, level: float = 0.1) -> np.ndarray:
    """Noise, a sweep, a click and a stretch of silence at some level."""
    random = np.random.default_rng(seed)
    time = np.arange(samples) / 16_000
    sweep = np.sin(2 * np.pi * random.uniform(50, 1500) * (1 + time) * time)
    clip = random.normal(size=samples) * random.uniform(0, 0.3) + sweep
    clip[random.integers(samples)] += 5
    start = int(random.integers(samples))
    clip[start : start + samples // 5] = 0
    return (level * clip + random.uniform(-0.01, 0.01)).astype(np.float32)


def _transformers(clip: np.ndarray, frames: int) -> torch.Tensor:
    extractor = ASTFeatureExtractor(max_length=frames)
    values: torch.Tensor = extractor(clip, sampling_rate=16_000, return_tensors="pt").input_values
    return values


def test_the_reference_is_the_one_with_torchaudio() -> None:
    assert is_speech_available()


@pytest.mark.slow
@few
@given(
    seconds=st.floats(0.2, 12),
    frames=st.integers(16, 1300),
    level=st.sampled_from([1e-4, 1e-2, 0.3, 1.0, 30.0]),
    seed=st.integers(0, 10**6),
)
def test_features_are_those_of_transformers(seconds: float, frames: int, level: float, seed: int) -> None:
    clip = _clip(seed, round(seconds * 16_000), level)
    torch.testing.assert_close(LogMelFrontEnd(frames)([clip]), _transformers(clip, frames), rtol=0, atol=1e-3)


@pytest.mark.parametrize("samples", [400, 559, 560, 16_000, 40_001])
def test_energies_are_those_of_kaldi(samples: int) -> None:
    clip = _clip(1, samples)
    expected = torchaudio.compliance.kaldi.fbank(
        torch.from_numpy(clip)[None], htk_compat=True, sample_frequency=16_000, use_energy=False,
        window_type="hanning", num_mel_bins=BINS, dither=0.0, frame_shift=10,
    )  # fmt: skip
    assert len(expected) == frame_count(samples)
    torch.testing.assert_close(log_mel([clip], len(expected))[0], expected, rtol=0, atol=1e-3)


def test_padding_is_zero_before_normalisation_and_the_published_value_after_it() -> None:
    clip, front_end = _clip(2, 8_000), LogMelFrontEnd(100)
    used = frame_count(len(clip))
    assert log_mel([clip], 100)[0, used:].abs().max() == 0
    features = front_end([clip])
    torch.testing.assert_close(features, _transformers(clip, 100), rtol=0, atol=1e-3)
    torch.testing.assert_close(features[0, used:], torch.full((100 - used, BINS), 4.2677393 / (2 * 4.5689974)))
    assert front_end.padding == pytest.approx(float(features[0, -1, 0]))


def test_a_task_may_have_its_own_normalisation() -> None:
    clip = _clip(3, 16_000)
    own = LogMelFrontEnd(100, mean=-3.0, std=2.0)
    torch.testing.assert_close(own([clip]), (log_mel([clip], 100) + 3.0) / 4.0)


@pytest.mark.slow
@few
@given(st.lists(st.floats(0.001, 3), min_size=2, max_size=6), st.integers(16, 400))
def test_a_batch_of_mixed_lengths_equals_one_by_one(lengths: list[float], frames: int) -> None:
    clips = [_clip(seed, max(1, round(16_000 * seconds))) for seed, seconds in enumerate(lengths)]
    front_end = LogMelFrontEnd(frames)
    alone = torch.cat([front_end([clip]) for clip in clips])
    torch.testing.assert_close(front_end(clips), alone, rtol=0, atol=1e-5)


def test_a_long_batch_worked_on_in_blocks_equals_each_second_alone() -> None:
    """Frame f of a clip starts at sample 160 f, wherever a block ends."""
    clips = [_clip(seed, 30 * 16_000) for seed in range(2)]
    whole = LogMelFrontEnd(3000)(clips)
    pieces = [[clip[16_000 * second :][: 400 + 99 * 160] for clip in clips] for second in range(29)]
    together = torch.cat([LogMelFrontEnd(100)(piece) for piece in pieces], dim=1)
    torch.testing.assert_close(whole[:, :2900], together, rtol=0, atol=1e-5)


def test_a_clip_shorter_than_a_window_is_one_window_with_zeros_after_it() -> None:
    short = _clip(4, 150)
    full = np.concatenate([short, np.zeros(250, np.float32)])
    assert torch.equal(LogMelFrontEnd(20)([short]), LogMelFrontEnd(20)([full]))
    assert frame_count(1) == frame_count(400) == 1
    assert frame_count(560) == 2


def test_silence_and_an_empty_batch_are_fine() -> None:
    silence = log_mel([np.zeros(16_000, np.float32)], 98)
    torch.testing.assert_close(silence, torch.full((1, 98, BINS), float(np.log(np.finfo(np.float32).eps))))
    assert LogMelFrontEnd(50)([]).shape == (0, 50, BINS)


def test_what_lies_beyond_the_frames_of_a_task_does_not_matter() -> None:
    clip = _clip(5, 48_000)
    changed = clip.copy()
    changed[400 + 99 * 160 :] = 0.9
    assert torch.equal(LogMelFrontEnd(100)([clip]), LogMelFrontEnd(100)([changed]))


@pytest.mark.parametrize("frames", [16, 3000])
def test_the_smallest_and_the_largest_number_of_frames(frames: int) -> None:
    features = LogMelFrontEnd(frames)([_clip(6, 16_000)])
    assert features.shape == (1, frames, BINS)
    assert features.dtype == torch.float32


@pytest.mark.parametrize("frames", [-1, 0, 15, 3001])
def test_other_numbers_of_frames_are_refused_with_the_bounds(frames: int) -> None:
    with pytest.raises(AudioError, match=f"{frames} frames.*16 to 3000"):
        LogMelFrontEnd(frames)


@pytest.mark.parametrize(
    ("seconds", "frames"), [(1.0, 100), (5.0, 500), (4.0, 400), (0.5, 50), (0.01, 16), (30, 3000), (600, 3000)]
)
def test_frames_for_seconds_as_the_papers_count(seconds: float, frames: int) -> None:
    assert LogMelFrontEnd.for_seconds(seconds).frames == frames


def test_louder_is_more_energy_by_the_law_of_logarithms(sine: Sine) -> None:
    quiet, loud = log_mel([sine(1_000, level=0.1), sine(1_000, level=0.2)], 98)
    peak = int(quiet.mean(0).argmax())
    torch.testing.assert_close(loud[:, peak] - quiet[:, peak], torch.full((98,), float(np.log(4))), atol=1e-3, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_computes_the_same_features() -> None:
    clips = [_clip(seed, samples) for seed, samples in enumerate((16_000, 9_000, 400, 40_000))]
    found = LogMelFrontEnd(100)(clips, "cuda")
    assert found.device.type == "cuda"
    torch.testing.assert_close(found.cpu(), LogMelFrontEnd(100)(clips), rtol=0, atol=1e-3)
