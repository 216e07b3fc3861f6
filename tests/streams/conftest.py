"""Fixtures that write small recordings and folders of clips."""

import csv
import math
import wave
from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

import streams

Rows = Sequence[Mapping[str, object]]


def _write_wav(path: Path, seconds: float = 0.05, rate: int = 8000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    n = round(seconds * rate)
    samples = array("h", (int(8000 * math.sin(0.3 * i)) for i in range(n)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


@pytest.fixture
def wav() -> Callable[..., Path]:
    """Return wav(path, seconds=0.05, rate=8000), which writes a short tone."""
    return _write_wav


@pytest.fixture
def table() -> Callable[[Path, Rows], Path]:
    """Return table(path, rows), which writes a CSV file."""

    def write(path: Path, rows: Rows) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


@pytest.fixture
def labelled(tmp_path: Path, table: Callable[[Path, Rows], Path]) -> Callable[..., Path]:
    """Return labelled(rows), which writes a folder with that metadata.csv and every file that it names."""

    def make(rows: Rows, name: str = "clips") -> Path:
        root = tmp_path / name
        table(root / "metadata.csv", rows)
        for row in rows:
            _write_wav(root / str(row.get("file") or row.get("file_name")))
        return root

    return make


@pytest.fixture
def classes(tmp_path: Path) -> Callable[..., Path]:
    """Return classes(dog=10, rain=8), which writes class folders with that many clips."""

    def make(**counts: int) -> Path:
        root = tmp_path / "clips"
        for label, n in counts.items():
            for i in range(n):
                _write_wav(root / label / f"{i:02}.wav")
        return root

    return make


@pytest.fixture
def rows() -> Callable[..., list[dict[str, object]]]:
    """Return rows(n=12, **columns), which gives the rows of n clips of two classes that take turns.

    Each further column is a function of the number of the row.
    """

    def make(n: int = 12, **columns: Callable[[int], object]) -> list[dict[str, object]]:
        return [
            {"file": f"audio/{i:03}.wav", "label": ("dog", "rain")[i % 2]} | {k: f(i) for k, f in columns.items()}
            for i in range(n)
        ]

    return make


@pytest.fixture
def split_of() -> Callable[[int], str]:
    """Return a split column for rows(), by pairs of clips, that uses several words for the same split."""
    return lambda i: ("train", "train", "training", "dev", "eval")[i // 2 % 5]


def _parts(task: streams.Task) -> list[set[str]]:
    root = Path(task.source.data)
    return [
        {clip.path.relative_to(root).as_posix() for clip in part} for part in (task.train, task.validation, task.test)
    ]


@pytest.fixture
def parts() -> Callable[[streams.Task], list[set[str]]]:
    """Return parts(task), which gives the relative paths in train, validation and test."""
    return _parts


@pytest.fixture
def check_complete() -> Callable[[streams.Task, int], None]:
    """Return check_complete(task, n), which checks that the splits are disjoint and have n clips together."""

    def check(task: streams.Task, n: int) -> None:
        train, validation, test = _parts(task)
        assert len(train) + len(validation) + len(test) == n == len(train | validation | test)

    return check
