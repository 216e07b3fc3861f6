"""Clips in, segments out: in order, read ahead, and long ones in windows without ever being in memory whole."""

import io
import itertools
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_ast.audio import reading as audio
from cl_ast.audio.log_mel import frame_count, log_mel
from cl_ast.audio.reading import Waveform
from cl_ast.audio.windows import READ_AHEAD, Failure, Segment, Window, segments, windows
from cl_ast.errors import AudioError
from tests.cl_ast.conftest import Sine


def _span(one: Segment) -> tuple[float, float]:
    """Return the start and the end of a window in seconds."""
    assert one.start is not None
    assert one.end is not None
    return one.start, one.end


def _blocks(clip: Waveform, size: int) -> Iterator[Waveform]:
    for first in range(0, len(clip), size):
        yield clip[first : first + size]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.integers(1, 80_000),
    st.integers(1_000, 90_000),
    st.sampled_from([0.1, 0.5, 1.0, 3.0]),
    st.sampled_from([0.25, 0.5, 1.0]),
)
def test_windows_cover_a_clip_in_order_however_it_is_read(
    samples: int, block: int, seconds: float, share: float
) -> None:
    clip = np.arange(samples, dtype=np.float32)
    window = Window(seconds, seconds * share)
    cut = list(windows(_blocks(clip, block), "clip", window))
    size = round(seconds * 16_000)
    assert cut[0].start == 0
    for one in cut:
        start, end = _span(one)
        first = round(start * 16_000)
        np.testing.assert_array_equal(one.waveform, clip[first : first + size])
        assert end - start == pytest.approx(len(one.waveform) / 16_000)
        if one.block is not None:
            within = one.block.samples[one.first * 160 :][: len(one.waveform)]
            np.testing.assert_array_equal(within, one.waveform)
    np.testing.assert_allclose(np.diff([_span(one)[0] for one in cut]), seconds * share, atol=1e-4)
    assert all(len(one.waveform) >= size / 4 for one in cut[1:])
    assert samples / 16_000 - max(_span(one)[1] for one in cut) < seconds / 4


@pytest.mark.slow
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.integers(500, 60_000), st.sampled_from([(0.1, 0.01), (0.5, 0.25), (1.0, 0.33), (0.7, 0.7)]), st.integers(0, 9)
)
def test_frames_that_windows_share_are_those_of_each_window_alone(
    samples: int, span: tuple[float, float], seed: int
) -> None:
    clip = np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)
    for one in windows(_blocks(clip, 24_000), "clip", Window(*span)):
        if one.block is not None:
            whole = one.block.once(lambda samples: log_mel([samples], frame_count(len(samples)))[0])
            alone = log_mel([one.waveform], frame_count(len(one.waveform)))[0]
            np.testing.assert_allclose(whole[one.first :][: len(alone)], alone, rtol=0, atol=2e-5)


def test_windows_that_begin_between_frames_share_none() -> None:
    clip = np.zeros(48_000, np.float32)
    assert all(one.block is None for one in windows(iter([clip]), "clip", Window(0.5, 0.333)))
    *several, last = windows(iter([clip]), "clip", Window(0.5, 0.33))
    assert all(one.block is several[0].block is not None for one in several)
    assert last.block is None  # alone at the end, it has nothing to share


def test_no_more_of_a_long_clip_is_in_memory_than_a_few_windows() -> None:
    """A clip of an hour, counted in samples that are alive at once."""
    second = np.zeros(16_000, np.float32)
    most = 0
    for one in windows(itertools.repeat(second, 3_600), "clip", Window(2.0, 1.0)):
        samples = one.waveform if one.waveform.base is None else one.waveform.base
        most = max(most, samples.size)
    assert one.end == 3_600
    assert most <= 5 * 16_000


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_file_in_blocks_is_exactly_the_whole_file(rate: int, tmp_path: Path, sine: Sine) -> None:
    path = tmp_path / "clip.flac"
    soundfile.write(path, np.stack([sine(440, 7.3, rate), sine(3000, 7.3, rate)], axis=1), rate)
    blocks = list(audio.stream(path, seconds=1))
    assert max(map(len, blocks)) < 17_000
    np.testing.assert_array_equal(np.concatenate(blocks), audio.read(path))


@pytest.mark.parametrize("samples", [1, 2, 100])
@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_the_shortest_clips_do_not_vanish_in_blocks(samples: int, rate: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", np.full(samples, 0.5), rate)
    np.testing.assert_array_equal(
        np.concatenate(list(audio.stream(tmp_path / "clip.wav"))), audio.read(tmp_path / "clip.wav")
    )


def test_what_is_wrong_in_the_middle_of_a_long_clip_is_said_after_the_windows_before_it(
    tmp_path: Path, sine: Sine
) -> None:
    broken = sine(440, 25)
    broken[-5] = np.nan
    path = tmp_path / "long.wav"
    soundfile.write(path, broken, 16_000, subtype="FLOAT")
    *before, last = segments([path], Window(1, 1))
    assert [one.start if isinstance(one, Segment) else None for one in before] == list(range(20))
    assert isinstance(last, Failure)
    assert "not numbers" in str(last.error)


def _clips(tmp_path: Path) -> Iterator[Path | io.BytesIO]:
    """Good and bad ones, a file in memory among them."""
    for number in range(30):
        path = tmp_path / f"{number:02}.wav"
        if number % 7 == 3:
            yield tmp_path / "nowhere.wav"
        elif number % 7 == 5:
            buffer = io.BytesIO()
            soundfile.write(buffer, np.full(100 + number, 0.1), 16_000, format="WAV")
            buffer.seek(0)
            yield buffer
        else:
            soundfile.write(path, np.full(100 + number, 0.1), 16_000)
            yield path


def test_clips_come_in_their_order_and_one_that_cannot_be_read_is_one_failure(tmp_path: Path) -> None:
    found = list(segments(_clips(tmp_path), None))
    assert len(found) == 30
    for number, one in enumerate(found):
        if number % 7 == 3:
            assert isinstance(one, Failure)
            assert isinstance(one.error, AudioError)
            assert one.path.endswith("nowhere.wav")
        else:
            assert isinstance(one, Segment)
            assert len(one.waveform) == 100 + number
            assert one.path == ("-" if number % 7 == 5 else str(tmp_path / f"{number:02}.wav"))


def test_an_endless_list_of_clips_is_read_only_a_little_ahead(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", np.full(100, 0.1), 16_000)
    taken = itertools.count()
    before = set(threading.enumerate())
    found = segments((tmp_path / "clip.wav" for _ in taken), None)
    for _ in range(50):
        next(found)
    assert isinstance(found, Generator)
    found.close()
    assert next(taken) <= 50 + READ_AHEAD + 1
    assert set(threading.enumerate()) <= before
