"""Tests of folders with metadata, and of every way they are split."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import streams
from cl_ast.errors import StreamError

Make = Callable[..., Any]
Parts = Callable[[streams.Task], list[set[str]]]


def test_metadata_extra_columns_bom_and_case(labelled: Make, rows: Make, check_complete: Make) -> None:
    root = labelled(rows(20, Note=lambda i: "a, b", fold=lambda i: "", speaker=lambda i: " "))
    path = root / "metadata.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"file,label", b"File, Label "))
    task = streams.load(root)
    check_complete(task, 20)
    assert "balanced by class" in task.protocol


def test_metadata_jsonl(tmp_path: Path, wav: Make) -> None:
    lines = []
    for i in range(12):
        wav(tmp_path / f"{i}.wav")
        lines.append(json.dumps({"file_name": f"{i}.wav", "label": i % 2, "fold": i % 3, "tags": ["x"], "split": None}))
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines) + "\n\n")
    task = streams.load(tmp_path)
    assert task.labels == ("0", "1")
    assert task.protocol == "fold 2 tests, fold 1 validates, fold 0 trains"


def test_folds(labelled: Make, rows: Make, check_complete: Make) -> None:
    root = labelled(rows(40, fold=lambda i: f"{i // 2 % 10 + 1:02}"))
    task = streams.load(root)
    assert task.protocol == "fold 10 tests, fold 09 validates, folds 01, 02, 03, 04, 05, 06, 07, 08 train"
    assert streams.load(root, fold=3).protocol.startswith("fold 03 tests, fold 02 validates")
    assert streams.load(root, fold="1").protocol.startswith("fold 01 tests, fold 10 validates")
    check_complete(task, 40)
    with pytest.raises(StreamError, match=r"no fold 11; choose one of 01, 02"):
        streams.load(root, fold=11)


def test_two_folds_hold_out_a_part_of_the_training_fold(labelled: Make, rows: Make) -> None:
    task = streams.load(labelled(rows(40, fold=lambda i: i // 2 % 2)))
    assert "15% of fold 0 validates" in task.protocol and "fold 1 tests" in task.protocol
    assert (len(task.train), len(task.validation), len(task.test)) == (16, 4, 20)
    assert {clip.label for clip in task.validation} == {"dog", "rain"}


def test_one_fold_and_no_fold(labelled: Make, rows: Make) -> None:
    root = labelled(rows(12, fold=lambda i: 1))
    with pytest.raises(StreamError, match=r"only fold"):
        streams.load(root)
    assert "random split" in streams.load(root, split_by="random").protocol
    with pytest.raises(StreamError, match=r"no folds"):
        streams.load(labelled(rows(), "other"), fold=1)


def test_speakers(labelled: Make, rows: Make, parts: Parts, check_complete: Make) -> None:
    root = labelled(rows(60, speaker=lambda i: f"s{i // 2 % 6}"))
    task = streams.load(root)
    speaker = {f"audio/{i:03}.wav": i // 2 % 6 for i in range(60)}
    train, validation, test = ({speaker[name] for name in part} for part in parts(task))
    assert not (train & validation or train & test or validation & test)
    assert len(train | validation | test) == 6
    counts = "1 speaker tests, 1 speaker validates, 4 speakers train"
    assert task.protocol == f"by speaker, no speaker is in two splits (seed 0): {counts}"
    check_complete(task, 60)


def test_two_speakers_and_one(labelled: Make, rows: Make, check_complete: Make) -> None:
    task = streams.load(labelled(rows(40, speaker=lambda i: f"s{i // 2 % 2}"), "two"))
    assert (len(task.train), len(task.validation), len(task.test)) == (16, 4, 20)
    assert "no third speaker" in task.protocol
    root = labelled(rows(12, speaker=lambda i: "s0"), "one")
    with pytest.raises(StreamError, match=r"'s0' is the only speaker"):
        streams.load(root)
    check_complete(streams.load(root, split_by="random"), 12)


def test_three_speakers_of_whom_one_has_a_class_alone(labelled: Make, rows: Make, check_complete: Make) -> None:
    entries = rows(30, speaker=lambda i: f"s{i // 2 % 3}")
    entries += [{"file": f"audio/x{i}.wav", "label": "only s0", "speaker": "s0"} for i in range(4)]
    task = streams.load(labelled(entries))
    assert {clip.label for clip in task.train} == {"dog", "rain", "only s0"}
    check_complete(task, 34)


def test_speakers_with_a_class_each_cannot_be_split(labelled: Make) -> None:
    root = labelled([{"file": f"{i}.wav", "label": "abc"[i % 3], "speaker": "abc"[i % 3]} for i in range(12)])
    with pytest.raises(StreamError, match=r"too few clips .or speakers. for a"):
        streams.load(root)


def test_own_split(labelled: Make, rows: Make, split_of: Make) -> None:
    root = labelled(rows(40, split=split_of, speaker=lambda i: f"s{i // 2 % 10}"))
    task = streams.load(root)
    assert (len(task.train), len(task.validation), len(task.test)) == (24, 8, 8)
    assert task.protocol == "the data's own train, validation and test split"
    assert "by speaker" in streams.load(root, split_by="speaker").protocol


def test_own_split_that_shares_speakers(labelled: Make, rows: Make, split_of: Make) -> None:
    root = labelled(rows(40, split=split_of, speaker=lambda i: f"s{i // 2 % 4}"))
    task = streams.load(root)
    assert task.protocol.startswith("by speaker") and "share speakers" in task.protocol
    assert streams.load(root, split_by="split").protocol.startswith("the data's own")


def test_own_split_without_validation(labelled: Make, rows: Make, parts: Parts) -> None:
    entries = rows(40, split=lambda i: "test" if i >= 30 else "train", speaker=lambda i: f"s{i // 5}")
    task = streams.load(labelled(entries))
    assert len(task.test) == 10 and "whole speakers" in task.protocol
    train, validation, _ = ({int(Path(name).stem) // 5 for name in part} for part in parts(task))
    assert validation and not train & validation
    for entry in entries:
        del entry["speaker"]
    assert "15% of the training clips validate (balanced" in streams.load(labelled(entries, "plain")).protocol


def test_fold_asked_for_beats_the_own_split(labelled: Make, rows: Make, split_of: Make) -> None:
    root = labelled(rows(40, split=split_of, fold=lambda i: i // 2 % 4))
    assert streams.load(root).protocol.startswith("the data's own")
    assert streams.load(root, fold=2).protocol.startswith("fold 2 tests")
    with pytest.raises(StreamError, match=r"leave one out"):
        streams.load(root, fold=2, split_by="split")


def test_split_without_a_test_or_a_train_part(labelled: Make, rows: Make) -> None:
    with pytest.raises(StreamError, match=r"no clip is in the test split"):
        streams.load(labelled(rows(12, split=lambda i: "train"), "a"))
    with pytest.raises(StreamError, match=r"no clip is in the train split"):
        streams.load(labelled(rows(12, split=lambda i: "test"), "b"))


def test_class_that_is_only_tested(labelled: Make, rows: Make) -> None:
    entries = rows(12, split=lambda i: ("train", "validation", "test")[i // 2 % 3])
    entries += [{"file": f"x{i}.wav", "label": "cat", "split": "test"} for i in range(2)]
    with pytest.raises(StreamError, match=r"class 'cat' has clips in the test split but none to train on"):
        streams.load(labelled(entries))
