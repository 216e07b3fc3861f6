"""Tests that data without troubles keep the splits, labels and fingerprints that registries have recorded."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import streams

Make = Callable[..., Any]


# The beginnings of the fingerprints, as cl-ast gave them before it normalised names and values.
PUBLISHED = {
    "esc50": "743e696b91124eba",
    "us8k": "dc8881617e0d3354",
    "gsc": "8a9b25922a7ac764",
    "fsc": "38ea6c58f8adc74f",
    "iemocap": "bb3d3d4a85510a5c",
    "fsd50k": "13feca3fca86ce06",
}
FOLDERS = {
    "classes": "8beed598775b21aa",
    "nested classes": "ea676ff8d1683bc0",
    "a class called train": "1b40517fd85ea322",
    "numbered classes": "b9d28dc74b8671b1",
    "speakers in classes": "1ecebf325381457a",
    "splits": "8d9cfd11fe672fc2",
    "a class called train in splits": "de6622058f1cd574",
    "folds": "f88f51bd7ac5e8c3",
    "named folds": "cb513670c89072c2",
    "speakers": "1a44f8c96db3ff7d",
    "split column": "f8708d1e6cd6c750",
    "json lines": "5ac99d8e65a4b079",
}


@pytest.mark.parametrize("name", list(streams.DATASETS))
def test_published_data_sets(name: str, request: pytest.FixtureRequest) -> None:
    task = streams.load(name, data=request.getfixturevalue(name))
    assert task.fingerprint().startswith(PUBLISHED[name])


def _classes(root: Path, wav: Make, *folders: str, n: int = 7) -> Path:
    for folder in folders:
        for i in range(n):
            wav(root / folder / f"{i}.wav", seconds=0.02 * (i + 1))
    return root


def _table(root: Path, wav: Make, table: Make, **columns: Callable[[int], object]) -> Path:
    rows: list[dict[str, object]] = [{"file": f"audio/{i:03}.wav", "label": ("dog", "1")[i % 2]} for i in range(40)]
    rows = [row | {name: value(i) for name, value in columns.items()} for i, row in enumerate(rows)]
    table(root / "metadata.csv", rows)
    for i, row in enumerate(rows):
        wav(root / str(row["file"]), seconds=0.01 * (i + 1))
    return root


def _json_lines(root: Path, wav: Make) -> Path:
    rows = [{"file_name": f"{i}.wav", "label": (1, 0.5, True)[i % 3], "fold": i % 4, "more": [1]} for i in range(24)]
    for row in rows:
        wav(root / str(row["file_name"]))
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root


LAYOUTS: dict[str, Callable[[Path, Make, Make], Path]] = {
    "classes": lambda root, wav, _: _classes(root, wav, "dog", "rain", "Dog bark", "10", "9", "_unknown_"),
    "nested classes": lambda root, wav, _: _classes(root, wav, "dog/small", "dog/big", "rain/male", "rain/x/y"),
    "a class called train": lambda root, wav, _: _classes(root, wav, "train", "bus", "train_horn"),
    "numbered classes": lambda root, wav, _: _classes(root, wav, "class1", "class2", "speaker 3"),
    "speakers in classes": lambda root, wav, _: _classes(root, wav, "dog/session1", "dog/session2", "rain/session1"),
    "splits": lambda root, wav, _: _classes(root, wav, "Train/dog", "Train/rain", "val/dog", "testing/dog"),
    "a class called train in splits": lambda root, wav, _: _classes(
        root, wav, "train/train", "train/bus", "test/train", "test/bus"
    ),
    "folds": lambda root, wav, table: _table(root, wav, table, fold=lambda i: f"{i // 2 % 10 + 1:02}"),
    "named folds": lambda root, wav, table: _table(root, wav, table, fold=lambda i: "aBc"[i // 2 % 3]),
    "speakers": lambda root, wav, table: _table(root, wav, table, speaker=lambda i: f"{i // 2 % 7:02}"),
    "split column": lambda root, wav, table: _table(
        root, wav, table, split=lambda i: ("train", "Train", "dev", "eval")[i // 2 % 4]
    ),
    "json lines": lambda root, wav, _: _json_lines(root, wav),
}


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_folders_of_clips(name: str, tmp_path: Path, wav: Make, table: Make) -> None:
    task = streams.load(LAYOUTS[name](tmp_path / "clips", wav, table))
    # A registry of an older release records no way to draw, which means the one of that time.
    task = streams.reload(replace(task.source, draw="shuffled"))
    assert task.fingerprint().startswith(FOLDERS[name])
