"""Tests that each unusable folder gives one line that says what is wrong, where, and what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import streams
from cl_ast.errors import StreamError

Make = Callable[..., Any]


def test_neither_a_data_set_nor_a_folder(tmp_path: Path) -> None:
    for word in ("nosuch", "", "x" * 300, "a\0b"):
        with pytest.raises(
            StreamError, match=r"neither a data set nor a folder; give one of esc50, us8k, gsc, fsc, iemocap"
        ):
            streams.load(word)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StreamError, match=r"is not a folder"):
        streams.load(tmp_path / "file")


def test_folder_in_the_data_root(classes: Make) -> None:
    root = classes(dog=4, rain=4)
    assert streams.load("clips", data_root=root.parent).source.data == str(root)
    with pytest.raises(StreamError, match=r"--data is for"):
        streams.load(root, data=root)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=r"no clip is in the folder"):
        streams.load(tmp_path)
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "a.txt").write_text("x")
    with pytest.raises(StreamError, match=r"no clip is in the folder"):
        streams.load(tmp_path)


def test_one_class(classes: Make, wav: Make) -> None:
    root = classes(dog=4)
    with pytest.raises(StreamError, match=r"one class, 'dog'; give two or more"):
        streams.load(root)
    wav(root / "dog" / "big" / "a.wav")
    wav(root / "dog" / "small" / "a.wav")
    with pytest.raises(StreamError, match=r"if its folders are the classes, give .*dog"):
        streams.load(root)


def test_class_with_one_clip(classes: Make) -> None:
    with pytest.raises(StreamError, match=r"class 'rain' has one clip only"):
        streams.load(classes(dog=4, rain=1))


def test_two_clips_a_class_are_enough(classes: Make) -> None:
    task = streams.load(classes(dog=2, rain=2))
    assert (len(task.train), len(task.validation), len(task.test)) == (2, 1, 1)


def test_loose_clips(classes: Make, wav: Make) -> None:
    root = classes(dog=4, rain=4)
    wav(root / "loose.wav")
    with pytest.raises(StreamError, match=r"loose.wav and 0 more clips have no label"):
        streams.load(root)


def test_a_class_in_another_format(classes: Make) -> None:
    root = classes(dog=4, rain=4)
    (root / "cat").mkdir()
    (root / "cat" / "a.m4a").write_bytes(b"x")
    with pytest.raises(StreamError, match=r"cat/a.m4a is not wav, flac, ogg, opus, mp3, aiff, au, caf or w64"):
        streams.load(root)


def test_both_metadata_files(labelled: Make, rows: Make) -> None:
    root = labelled(rows())
    (root / "metadata.jsonl").write_text("{}")
    with pytest.raises(StreamError, match=r"keep one"):
        streams.load(root)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"label": ""}, r"metadata.csv row 4: no label"),
        ({"file": ""}, r"metadata.csv row 4: no file"),
        ({"fold": ""}, r"metadata.csv row 4: no fold"),
        ({"speaker": " "}, r"metadata.csv row 4: no speaker"),
        ({"split": ""}, r"metadata.csv row 4: no split"),
        ({"split": "holdout"}, r"row 4: 'holdout' is no split; write train, validation or test"),
        ({"file": "../secret.wav"}, r"row 4: '../secret.wav' leads out"),
        ({"file": "a/../../secret.wav"}, r"leads out"),
        ({"file": "/etc/secret.wav"}, r"leads out"),
        ({"file": "C:\\secret.wav"}, r"leads out"),
        ({"file": "..\\secret.wav"}, r"leads out"),
        ({"file": "audio/notes.txt"}, r"row 4: 'audio/notes.txt' is not wav"),
        ({"file": "audio/gone.wav"}, r"1 of 12 clips are missing, the first is audio/gone.wav"),
        ({"file": "audio/000.wav"}, r"row 4: '000.wav' is listed already in metadata.csv row 2"),
        ({"file": "./audio/000.wav"}, r"listed already"),
    ],
)
def test_a_row_that_does_not_fit(
    labelled: Make, table: Make, cells: dict[str, object], message: str, rows: Make, split_of: Make
) -> None:
    entries = rows(12, fold=lambda i: i % 3, speaker=lambda i: i % 4, split=split_of)
    root = labelled(entries)
    entries[2].update(cells)
    table(root / "metadata.csv", entries)
    with pytest.raises(StreamError, match=message) as caught:
        streams.load(root)
    assert str(root) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no rows"),
        (b"file,label\n", "has no rows"),
        (b"path,label\na.wav,x\n", "no column 'file' or 'file_name' with values; it has path, label"),
        (b"file,class\na.wav,x\n", "no column 'label' with values; it has file, class"),
        (b"file|label\na.wav|x\n", "no column 'file' or"),
        (b"file,label,label\na.wav,x,y\n", "names a column twice"),
        (b"file,label\na.wav,x,y\n", "row 2: 3 cells under 2 columns"),
        (b'file,label\na.wav,"x\n', "cannot be read as CSV"),
        (b"file,label\na.wav,\xff\xfe\n", "not UTF-8"),
        (b"file,label\na.wav,\0\n", "cannot be read as CSV|leads out|missing"),
    ],
)
def test_a_table_that_does_not_fit(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "metadata.csv").write_bytes(content)
    with pytest.raises(StreamError, match=message):
        streams.load(tmp_path)


@pytest.mark.parametrize(("line", "message"), [("{oops", "row 1 is not JSON"), ("[1]", "row 1 is not a JSON object")])
def test_json_lines_that_do_not_fit(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "metadata.jsonl").write_text(line)
    with pytest.raises(StreamError, match=message):
        streams.load(tmp_path)


def test_split_by_that_does_not_fit(classes: Make) -> None:
    root = classes(dog=4, rain=4)
    with pytest.raises(StreamError, match=r"no speaker column"):
        streams.load(root, split_by="speaker")
    with pytest.raises(StreamError, match=r"choose one of auto, split, fold, speaker, random"):
        streams.load(root, split_by="class")
