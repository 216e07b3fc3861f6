"""Where a clip sounds: its power over time, its windows, its loudest stretch, and stretches of a clip not in memory."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_ast.audio.reading import Waveform
from cl_ast.audio.recordings import Loudness, Recording, loudest, sounding, window_starts


def _blocks(clip: Waveform, size: int) -> Iterator[Waveform]:
    for first in range(0, len(clip), size):
        yield clip[first : first + size]


@pytest.fixture
def call() -> Waveform:
    """Faint noise of 10 s with an offset from zero, and in it a call from 6.0 to 6.5 s."""
    random = np.random.default_rng(0)
    clip = random.normal(0, 0.001, 160_000)
    clip[96_000:104_000] += 0.5 * np.sin(np.arange(8_000))
    return (clip + 0.3).astype(np.float32)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 40_000), st.integers(1, 9_000), st.integers(160, 8_000))
def test_power_is_the_variance_however_the_clip_is_read(samples: int, block: int, size: int) -> None:
    clip = np.random.default_rng(samples).normal(0.2, 0.1, samples).astype(np.float32)
    found = Loudness(_blocks(clip, block))
    assert found.samples == samples
    starts = range(0, max(1, samples - size), 160)
    powers = found.powers(starts, size)
    np.testing.assert_array_equal(powers, Loudness([clip]).powers(starts, size))
    for start, power in zip(starts, powers, strict=True):
        if start + size <= samples // 160 * 160:
            assert power == pytest.approx(clip[start : start + size // 160 * 160].astype(np.float64).var(), rel=1e-6)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 100_000), st.integers(1_000, 20_000))
def test_windows_cover_a_clip_and_are_as_few_as_can_be(samples: int, size: int) -> None:
    starts = window_starts(samples, size)
    assert len(starts) == max(1, -(-samples // size))
    assert starts[0] == 0
    if samples > size:
        assert starts[-1] + size == samples
        assert all(0 < step <= size for step in np.diff(starts))


def test_windows_that_sound_are_those_with_the_call(call: Waveform) -> None:
    loudness = Loudness([call])
    assert sounding(loudness, window_starts(len(call), 8_000), 8_000) == [96_000]
    assert loudest(loudness, 8_000) == pytest.approx(96_000, abs=160)
    assert loudest(loudness, len(call) + 1) == 0


@pytest.mark.parametrize(("below", "sounds"), [(9, True), (11, False)])
def test_ten_decibels_below_the_loudest_window_are_the_limit(below: float, sounds: bool) -> None:
    tone = np.sin(np.arange(8_000))
    clip = np.concatenate([tone, tone * 10 ** (-below / 20)]).astype(np.float32)
    assert sounding(Loudness([clip]), [0, 8_000], 8_000) == ([0, 8_000] if sounds else [0])


def test_in_pure_silence_all_windows_sound_and_after_a_sound_none_does() -> None:
    silence = np.zeros(32_000, np.float32)
    assert sounding(Loudness([silence]), [0, 16_000], 16_000) == [0, 16_000]
    assert loudest(Loudness([silence]), 16_000) == 0
    after = np.concatenate([np.sin(np.arange(16_000)).astype(np.float32), silence])
    assert sounding(Loudness([after]), [0, 16_000, 32_000], 16_000) == [0]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 30_000), st.integers(1, 9_000), st.integers(1, 9_000), st.lists(st.integers(0, 29_999)))
def test_stretches_are_the_same_however_the_clip_is_read(
    samples: int, block: int, size: int, starts: list[int]
) -> None:
    clip = np.arange(samples, dtype=np.float32)
    wanted = sorted(start for start in starts if start < samples)
    for one in (Recording("clip", lambda _: _blocks(clip, block)), Recording.of(clip)):
        cut = list(one.cut(wanted, size))
        assert len(cut) == len(wanted)
        for start, found in zip(wanted, cut, strict=True):
            np.testing.assert_array_equal(found, clip[start : start + size])


@pytest.mark.slow
def test_a_recording_of_an_hour_is_never_in_memory() -> None:
    second = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    one = Recording("clip", lambda _: (second for _ in range(3_600)))
    assert one.samples == 3_600 * 16_000
    starts = sounding(one.loudness, window_starts(one.samples, 11_200), 11_200)
    assert len(starts) == 5_143
    most = max(len(window if window.base is None else window.base) for window in one.cut(starts, 11_200))
    assert most <= 3 * 16_000
