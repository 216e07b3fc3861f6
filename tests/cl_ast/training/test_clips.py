"""Labelled clips as batches: the same whether kept in memory or not, and read before anything is trained."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from cl_ast.audio import reading as audio
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.audio.reading import read, read_all
from cl_ast.batching import chunks
from cl_ast.errors import AudioError
from cl_ast.progress import Step
from cl_ast.training.clips import ClipSet, labelled
from streams import Clip
from tests.cl_ast.conftest import Sine, Toy


def test_clips_are_read_in_order(toy_clips: list[Path]) -> None:
    for path, waveform in zip(toy_clips, read_all(toy_clips), strict=True):
        np.testing.assert_array_equal(waveform, audio.read(path))
    assert len(read_all(toy_clips[:1])) == 1
    assert read_all([]) == []


def test_the_first_clip_that_cannot_be_read_is_named(toy_clips: list[Path], tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"gone\.wav: no such file"):
        read_all([*toy_clips[:5], tmp_path / "gone.wav", tmp_path / "also-gone.wav", *toy_clips[5:]])


def test_a_batch_is_the_front_ends_features_and_the_targets_in_the_order_given(toy_clips: list[Path]) -> None:
    clips = ClipSet(toy_clips[:6], [0, 1, 2, 3, 4, 5], LogMelFrontEnd(30))
    clips.load("reading")
    features, targets = clips.batch([4, 0, 4])
    assert targets.tolist() == [4, 0, 4]
    expected = LogMelFrontEnd(30)([audio.read(toy_clips[index]) for index in (4, 0, 4)])
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)


def test_clips_that_do_not_fit_into_memory_are_the_same_batches(toy_clips: list[Path]) -> None:
    targets = [n % 2 for n in range(len(toy_clips))]
    kept = ClipSet(toy_clips, targets, LogMelFrontEnd(30))
    streamed = ClipSet(toy_clips, targets, LogMelFrontEnd(30), cache_bytes=1000)
    for clips in (kept, streamed):
        clips.load("reading")
    assert len(kept) == len(streamed) == 48
    for ours, theirs in zip(kept.batch(range(3, 20)), streamed.batch(range(3, 20)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_kept_clips_are_not_read_again(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = toy(0, 8)
    clips.load("reading")

    def refuse(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(audio, "read", refuse)
    assert clips.batch(range(8))[0].shape == (8, 30, 128)


def test_reading_is_reported_and_stops_at_a_bad_clip(toy_clips: list[Path], tmp_path: Path) -> None:
    steps: list[Step] = []
    many = [*toy_clips, *toy_clips]  # more than one chunk
    ClipSet(many, [0] * 96, LogMelFrontEnd(30)).load("reading", steps.append)
    assert [(step.stage, step.done, step.total) for step in steps] == [("reading", 64, 96), ("reading", 96, 96)]
    (tmp_path / "bad.wav").write_text("a letter")
    for cache_bytes in (0, 2**20):
        clips = ClipSet([toy_clips[0], tmp_path / "bad.wav"], [0, 1], LogMelFrontEnd(30), cache_bytes=cache_bytes)
        with pytest.raises(AudioError, match=r"bad\.wav"):
            clips.load("reading")


def test_chunks_cover_everything_once() -> None:
    assert [list(part) for part in chunks(5, 2)] == [[0, 1], [2, 3], [4]]
    assert list(chunks(0, 2)) == []


def test_of_longer_clips_the_stretch_is_taken_that_the_crop_says(tmp_path: Path, sine: Sine) -> None:
    """Two clips of 1.2 s with a call at 0.3 s and a fainter one at 0.9 s, and one of 0.3 s."""
    long = 0.001 * np.random.default_rng(0).normal(size=19_200).astype(np.float32)
    long[4_800:9_600] += sine(500, 0.3)
    long[14_400:] += sine(900, 0.3, level=0.3)
    for name, clip in (("a", long), ("short", sine(400, 0.3)), ("b", long)):
        soundfile.write(tmp_path / f"{name}.wav", clip, 16_000, subtype="FLOAT")
    clips = [Clip(tmp_path / f"{name}.wav", label) for name, label in (("a", "x"), ("short", "y"), ("b", "y"))]
    front_end = LogMelFrontEnd(30)
    short = read(tmp_path / "short.wav")
    expected = {
        "start": ([long, short, long], [0, 1, 1]),
        "loudest": ([long[4_800:9_600], short, long[4_800:9_600]], [0, 1, 1]),
        "all": ([long[4_800:9_600], long[14_400:], short, long[4_800:9_600], long[14_400:]], [0, 0, 1, 1, 1]),
    }
    for crop, (stretches, targets) in expected.items():
        found = labelled(clips, ("x", "y"), front_end, crop=crop)
        found.load("reading")
        assert [path.name for path in found.longer] == ["a.wav", "b.wav"]
        features, labels = found.batch(range(len(found)))
        assert labels.tolist() == targets
        torch.testing.assert_close(features, front_end(stretches), rtol=0, atol=0)
