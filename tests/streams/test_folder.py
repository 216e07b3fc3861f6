"""Tests of class folders and split folders, few shots, clip lengths, and loading a task again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import streams
from cl_ast.errors import StreamError

Make = Callable[..., Any]
Parts = Callable[[streams.Task], list[set[str]]]


def test_class_folders(classes: Make, parts: Parts) -> None:
    root = classes(rain=20, dog=20)
    task = streams.load(root)
    assert task.name == "clips" and task.labels == ("dog", "rain")
    assert [len(part) for part in parts(task)] != [0, 0, 0]
    assert (len(task.train), len(task.validation), len(task.test)) == (28, 6, 6)
    assert task.clip_seconds == 0.2
    assert "a repeatable random split" in task.protocol and "seed 0" in task.protocol
    assert all(clip.path.is_absolute() and clip.path.parent.name == clip.label for clip in task.train)
    assert streams.load(str(root), name="mine", seed=1).name == "mine"
    assert streams.load(root, seed=1).test != task.test


def test_relative_path_and_dot(classes: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(classes(rain=4, dog=4))
    task = streams.load(".")
    assert task.name == "clips" and Path(task.source.data).is_absolute()
    Path("../link").symlink_to(Path.cwd())
    assert streams.load("../link").name == "link" and streams.load("dog/..").name == "clips"


def test_nested_hidden_upper_case_and_foreign_files(classes: Make, wav: Make, check_complete: Make) -> None:
    root = classes(rain=3, dog=3)
    wav(root / "dog" / "sub" / "UPPER.WAV")
    wav(root / "dog" / ".hidden.wav")
    wav(root / ".cache" / "a.wav")
    wav(root / "__MACOSX" / "dog" / "._a.wav")
    (root / "docs").mkdir()
    (root / "docs" / "notes.txt").write_text("no audio here")
    (root / "README.md").write_text("hello")
    task = streams.load(root)
    check_complete(task, 7)
    assert task.labels == ("dog", "rain")


def test_every_format(tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    for label in ("dog", "rain"):
        (tmp_path / label).mkdir()
        for extension in ("wav", "flac", "ogg", "mp3"):
            path = tmp_path / label / f"{extension}.{extension}"
            soundfile.write(path, 0.1 * np.sin(np.arange(16000 * 2) / 9), 16000)
    task = streams.load(tmp_path)
    check_complete_paths = {clip.path.suffix for part in (task.train, task.validation, task.test) for clip in part}
    assert check_complete_paths == {".wav", ".flac", ".ogg", ".mp3"}
    assert 2.0 <= task.clip_seconds <= 2.2


def test_split_folders(tmp_path: Path, wav: Make, parts: Parts) -> None:
    for split, n in (("Train", 6), ("val", 2), ("testing", 3)):
        for label in ("dog", "rain"):
            for i in range(n):
                wav(tmp_path / split / label / f"{split}{i}.wav")
    task = streams.load(tmp_path)
    assert (len(task.train), len(task.validation), len(task.test)) == (12, 4, 6)
    assert {clip.path.parts[-3] for clip in task.test} == {"testing"}
    shutil.rmtree(tmp_path / "val")
    task = streams.load(tmp_path)
    assert (len(task.train), len(task.validation), len(task.test)) == (10, 2, 6)
    assert "15% of the training clips validate" in task.protocol


def test_split_folders_with_metadata(tmp_path: Path, wav: Make, table: Make) -> None:
    for split in ("train", "test"):
        entries = [{"file_name": f"{i}.wav", "label": "ab"[i % 2]} for i in range(8)]
        table(tmp_path / split / "metadata.csv", entries)
        for entry in entries:
            wav(tmp_path / split / entry["file_name"])
    task = streams.load(tmp_path)
    assert len(task.test) == 8 and len(task.train) + len(task.validation) == 8


def test_a_class_may_be_called_train(classes: Make, check_complete: Make) -> None:
    task = streams.load(classes(train=4, bus=4))
    assert task.labels == ("bus", "train")
    check_complete(task, 8)


def test_few_shot(classes: Make) -> None:
    root = classes(dog=20, rain=20)
    task, full = streams.load(root, few_shot=5), streams.load(root)
    assert len(task.train) == 10 and (task.validation, task.test) == (full.validation, full.test)
    assert "5 training clips per class" in task.protocol
    assert streams.load(root, few_shot=5) == task
    with pytest.raises(StreamError, match=r"class 'dog' has 14 clips to train on, fewer than the 15"):
        streams.load(root, few_shot=15)
    with pytest.raises(StreamError, match=r"at least 1"):
        streams.load(root, few_shot=0)


def test_clip_seconds(tmp_path: Path, wav: Make) -> None:
    for label in ("dog", "rain"):
        for i in range(20):
            wav(tmp_path / label / f"{i}.wav", seconds=0.5 + 0.001 * i)
    assert streams.load(tmp_path).clip_seconds == 0.6
    task = streams.load(tmp_path, max_seconds=0.4)
    assert task.clip_seconds == 0.4 and task.source.max_seconds == 0.4
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(StreamError, match=r"max_seconds"):
            streams.load(tmp_path, max_seconds=wrong)


def test_clip_seconds_are_clamped_and_broken_headers_passed_over(tmp_path: Path, wav: Make) -> None:
    for label in ("dog", "rain"):
        for i in range(6):
            wav(tmp_path / label / f"{i}.wav", seconds=11, rate=1000)
    assert streams.load(tmp_path).clip_seconds == 10.24
    for path in tmp_path.glob("*/*.wav"):
        path.write_bytes(b"" if path.stem == "1" else b"not audio at all")
    assert streams.load(tmp_path).clip_seconds == 10.24


def test_source_round_trip_and_fingerprint(classes: Make, tmp_path: Path) -> None:
    root = classes(dog=10, rain=10)
    task = streams.load(root, few_shot=3, max_seconds=2, seed=7, name="n")
    stored = json.loads(json.dumps(task.source.to_json()))
    again = streams.reload(streams.Source.from_json(stored))
    assert again == task and again.fingerprint() == task.fingerprint()
    assert len(task.fingerprint()) == 64

    moved = tmp_path / "elsewhere"
    shutil.copytree(root, moved)
    copy = streams.load(moved, few_shot=3, max_seconds=2, seed=7)
    assert copy.fingerprint() == task.fingerprint()
    with copy.test[0].path.open("ab") as file:
        file.write(b"x")
    assert copy.fingerprint() != task.fingerprint()
    copy.test[0].path.unlink()
    with pytest.raises(StreamError, match=r"the clip is gone"):
        copy.fingerprint()
    shutil.rmtree(root)
    with pytest.raises(StreamError, match=r"not a folder"):
        streams.reload(task.source)


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"task": "folder", "data": "x"},
        {"task": "folder", "data": "x", "name": "n", "more": 1},
        {"task": "folder", "data": 3, "name": "n"},
        {"task": "folder", "data": "x", "name": "n", "seed": None},
    ],
)
def test_a_damaged_source(stored: dict[str, object]) -> None:
    with pytest.raises(StreamError, match=r"not a stored source"):
        streams.Source.from_json(stored)


def test_source_of_an_unknown_data_set() -> None:
    with pytest.raises(StreamError, match=r"no known data set"):
        streams.reload(streams.Source("fma", "x", "n"))
