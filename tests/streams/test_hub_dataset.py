"""Data sets of the library `datasets`, from parquet files and folders of audio, as tasks."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import streams
from cl_ast.errors import StreamError

datasets = pytest.importorskip("datasets")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytestmark = pytest.mark.slow
LABELS = ("dog", "rain")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def sound(number: int, kind: str = "FLAC") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(number).normal(0, 0.1, 4_000), 16_000, format=kind)
    return file.getvalue()


def parquet(folder: Path, parts: dict[str, int], **columns: Any) -> Path:
    """Write a folder of parquet files, one a part, with so many clips, in the layout of the hub."""
    features = datasets.Features(
        audio=datasets.Audio(decode=False), category=datasets.ClassLabel(names=list(LABELS)),
        **{name: datasets.Value("string") for name in columns},
    )  # fmt: skip
    start = 0
    for part, count in parts.items():
        rows = [
            {
                "audio": {"bytes": sound(start + n), "path": f"{part}-{n}.flac"},
                "category": n % 2,
                **{name: values(n) for name, values in columns.items()},
            }
            for n in range(count)
        ]
        start += count
        (folder / "data").mkdir(parents=True, exist_ok=True)
        file = folder / "data" / f"{part}-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=features.arrow_schema), file)
    return folder


def test_its_parts_are_the_splits_and_its_bytes_the_clips(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "barks", {"train": 12, "validation": 4, "test": 6})
    task = streams.load(f"hf:{folder}", data_root=tmp_path / "all")
    assert task.name == "barks" and task.labels == LABELS
    assert [len(part) for part in (task.train, task.validation, task.test)] == [12, 4, 6]
    published = {sound(number): LABELS[number % 2] for number in range(12)}
    assert {clip.path.read_bytes(): clip.label for clip in task.train} == published
    again = streams.load(f"hf:{folder}", data_root=tmp_path / "all", name="other")
    assert again.test == task.test and again.name == "other"
    assert streams.reload(task.source) == task


def test_the_parts_and_the_labels_can_be_named(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "barks", {"old": 8, "new": 6}, mood=lambda n: ("calm", "angry", "sad")[n % 3])
    task = streams.load(f"hf:{folder}", data_root=tmp_path, split="new/old", label_column="mood")
    assert task.labels == ("angry", "calm", "sad") and len(task.test) == 8
    assert len(task.train) + len(task.validation) == 6
    with pytest.raises(StreamError, match=r"such as train/test, not 'new/far'; .* has new, old"):
        streams.load(f"hf:{folder}", data_root=tmp_path, split="new/far")
    with pytest.raises(StreamError, match=r"no column of labels called 'colour'.*category, mood"):
        streams.load(f"hf:{folder}", data_root=tmp_path, label_column="colour")


def test_parts_of_one_meaning_are_one_split(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "barks", {"train": 12, "validation": 4, "dev": 2, "test": 6})
    task = streams.load(f"hf:{folder}", data_root=tmp_path / "all")
    assert [len(part) for part in (task.train, task.validation, task.test)] == [12, 6, 6]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "barks", {"train": 12, "test": 6})
    (tmp_path / "full").write_text("a file where the folder would be")
    with pytest.raises(StreamError, match="say another place with --data-root"):
        streams.load(f"hf:{folder}", data_root=tmp_path / "full")


def test_one_part_alone_is_split_by_its_speakers(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "barks", {"train": 24}, speaker_id=lambda n: f"s{n // 4}")
    task = streams.load(f"hf:{folder}", data_root=tmp_path)
    assert "by speaker" in task.protocol


def test_a_folder_of_audio_is_read_too(tmp_path: Path) -> None:
    for number in range(16):
        place = tmp_path / "sounds" / ("train" if number < 12 else "test") / LABELS[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.wav").write_bytes(sound(number, "WAV"))
    task = streams.load(f"hf:{tmp_path / 'sounds'}", data_root=tmp_path)
    assert task.labels == LABELS and len(task.test) == 4
    assert {clip.path.read_bytes() for clip in task.test} == {sound(number, "WAV") for number in range(12, 16)}


def test_what_is_no_such_data_set(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StreamError, match="cannot be loaded"):
        streams.load(f"hf:{tmp_path / 'empty'}", data_root=tmp_path)
    silent = datasets.Dataset.from_dict({"text": ["a", "b"], "label": ["x", "y"]})
    (tmp_path / "texts").mkdir()
    silent.to_parquet(str(tmp_path / "texts" / "train.parquet"))
    with pytest.raises(StreamError, match="has 0 columns of audio"):
        streams.load(f"hf:{tmp_path / 'texts'}", data_root=tmp_path)
    with pytest.raises(StreamError, match="are for data sets such as hf:owner/name"):
        streams.load(tmp_path / "texts", split="train/test")
