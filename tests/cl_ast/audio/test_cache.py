"""Clips that are needed more than once: the same waveforms and descriptions, decoded and described once."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from cl_ast.audio import reading as audio
from cl_ast.audio.cache import DecodedClips
from cl_ast.errors import AudioError
from cl_ast.router.description_cache import DescriptionCache


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every path that was decoded."""
    found: list[Path] = []
    read = audio.read

    def counted(path: Path) -> audio.Waveform:
        found.append(path)
        return read(path)

    monkeypatch.setattr(audio, "read", counted)
    return found


class Space:
    """Stands for a router's space: what it says of a clip is its mean square."""

    def __init__(self) -> None:
        self.described = 0

    def describe(self, clips: list[audio.Waveform]) -> torch.Tensor:
        self.described += len(clips)
        return torch.tensor([[float(np.square(clip).mean())] for clip in clips]).reshape(-1, 1)


def test_a_clip_is_decoded_once_and_read_in_order(toy_clips: list[Path], reads: list[Path]) -> None:
    cache = DecodedClips()
    first = cache.read(toy_clips[:6])
    again = cache.read([toy_clips[7], *reversed(toy_clips[:6])])
    assert sorted(reads) == [*toy_clips[:6], toy_clips[7]]
    for ours, theirs in zip(again[1:], reversed(first), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert cache.read([]) == []


def test_beyond_the_budget_the_clip_used_longest_ago_is_forgotten(toy_clips: list[Path], reads: list[Path]) -> None:
    size = audio.read(toy_clips[0]).nbytes
    reads.clear()
    cache = DecodedClips(3 * size)
    cache.read(toy_clips[:3])
    cache.read(toy_clips[:1])
    cache.read(toy_clips[3:4])
    assert cache.bytes == 3 * size
    cache.read(toy_clips[:1])
    assert len(reads) == 4
    cache.read(toy_clips[1:2])
    assert len(reads) == 5
    assert len(DecodedClips(0).read(toy_clips[:4])) == 4


def test_a_file_that_changed_is_read_again(tmp_path: Path, reads: list[Path]) -> None:
    path = tmp_path / "clip.wav"
    cache, descriptions, space = DecodedClips(), DescriptionCache(), Space()
    for level in (0.1, 0.2):
        soundfile.write(path, np.full(1600, level), 16_000)
        os.utime(path, ns=(0, round(level * 1e9)))
        waveforms = cache.read([path])
        assert waveforms[0].max() == pytest.approx(level, abs=1e-3)
        described = descriptions.describe(space, [path], waveforms)  # type: ignore[arg-type]
        assert float(described) == pytest.approx(level**2, abs=1e-3)
    assert len(reads) == 2


def test_a_clip_is_described_once_a_space(toy_clips: list[Path]) -> None:
    cache, descriptions, space, other = DecodedClips(), DescriptionCache(), Space(), Space()
    waveforms = cache.read(toy_clips[:5])
    first = descriptions.describe(space, toy_clips[:5], waveforms)  # type: ignore[arg-type]
    again = descriptions.describe(space, toy_clips[4::-1], waveforms[::-1])  # type: ignore[arg-type]
    assert space.described == 5
    assert torch.equal(again, first.flip(0))
    descriptions.describe(other, toy_clips[:5], waveforms)  # type: ignore[arg-type]
    assert other.described == 5


def test_a_clip_that_cannot_be_read_is_named_and_not_remembered(tmp_path: Path, toy_clips: list[Path]) -> None:
    cache = DecodedClips()
    for _ in range(2):
        with pytest.raises(AudioError, match=r"gone\.wav"):
            cache.read([toy_clips[0], tmp_path / "gone.wav"])
