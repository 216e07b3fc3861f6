"""Tests that a published data set given as a folder is read by its name, and its folders are no classes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import streams
from cl_ast.errors import StreamError

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("esc50", ""),
        ("esc50", "audio"),
        ("us8k", ""),
        ("us8k", "audio"),
        ("us8k", "audio/fold1"),
        ("fsc", ""),
        ("fsc", "wavs"),
        ("fsc", "wavs/speakers"),
        ("iemocap", ""),
        ("iemocap", "Session1"),
        ("iemocap", "Session1/sentences/wav"),
    ],
)
def test_a_published_data_set_is_read_by_its_name(name: str, inside: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(name)
    with pytest.raises(StreamError, match="whose folders are no classes") as caught:
        streams.load(root / inside)
    assert f"with the task {name} and --data {root}" in str(caught.value)


def test_speech_commands_as_a_folder_says_its_name(gsc: Path) -> None:
    task = streams.load(gsc)
    assert task.labels == ("marvin", "no", "yes")
    assert task.notes[-1].endswith(f"with the task gsc and --data {gsc}") and "_background_noise_" in task.notes[0]


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("us8k", "fold{}/100{}-3-0-1.wav"),
        ("us8k", "audio/fold{}/100{}-3-0-1.wav"),
        ("esc50", "audio/{}-1{}-A-3.wav"),
        ("iemocap", "Session{}/sentences/wav/Ses0{}F_impro01/Ses01F_impro01_F000.wav"),
        ("iemocap", "IEMOCAP/Session{}/x/Ses0{}M_impro01_F000.wav"),
    ],
)
def test_clips_of_a_published_data_set_without_its_table(tmp_path: Path, wav: Make, name: str, clip: str) -> None:
    for i in range(1, 4):
        wav(tmp_path / "data" / clip.format(i, i))
    with pytest.raises(StreamError, match=f"give the task {name}, and --data with its whole folder"):
        streams.load(tmp_path / "data")
    with pytest.raises(StreamError) as caught:
        streams.load(name, data=tmp_path / "data")
    assert "give its path as the task" not in str(caught.value)
