"""Fixtures that write small recordings and folders of clips."""

import csv
import io
import math
import wave
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

import streams

Rows = Sequence[Mapping[str, object]]


@cache
def _tone(frames: int, rate: int) -> bytes:
    samples = array("h", (int(8000 * math.sin(0.3 * i)) for i in range(frames)))
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return content.getvalue()


def _write_wav(path: Path, seconds: float = 0.05, rate: int = 8000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_tone(round(seconds * rate), rate))
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


# The published data sets, each as a small folder in its published layout.


@pytest.fixture
def esc50(tmp_path: Path, wav: Callable[..., Path], table: Callable[[Path, Rows], Path]) -> Path:
    """Write three classes whose order by target is not alphabetical."""
    root = tmp_path / "ESC-50-master"
    rows = []
    for fold in range(1, 6):
        for target, category in ((0, "dog"), (38, "water_drops"), (10, "rain")):
            name = f"{fold}-1000{target}-A-{target}.wav"
            wav(root / "audio" / name)
            rows.append(
                {
                    "filename": name,
                    "fold": fold,
                    "target": target,
                    "category": category,
                    "esc10": target < 11,
                    "src_file": 1000,
                    "take": "A",
                }
            )
    table(root / "meta" / "esc50.csv", rows)
    return root


@pytest.fixture
def us8k(tmp_path: Path, wav: Callable[..., Path], table: Callable[[Path, Rows], Path]) -> Path:
    root = tmp_path / "UrbanSound8K"
    rows = []
    for fold in range(1, 11):
        for class_id, name in ((3, "dog_bark"), (0, "air_conditioner"), (1, "car_horn")):
            file = f"{fold}0000-{class_id}-0-0.wav"
            wav(root / "audio" / f"fold{fold}" / file)
            rows.append(
                {
                    "slice_file_name": file,
                    "fsID": f"{fold}0000",
                    "start": 0.0,
                    "end": 0.5,
                    "salience": 1,
                    "fold": fold,
                    "classID": class_id,
                    "class": name,
                }
            )
    table(root / "metadata" / "UrbanSound8K.csv", rows)
    return root


@pytest.fixture
def gsc(tmp_path: Path, wav: Callable[..., Path]) -> Path:
    root = tmp_path / "speech_commands_v0.02"
    for word in ("yes", "no", "marvin"):
        for speaker in ("aa", "bb", "cc", "dd"):
            wav(root / word / f"{speaker}_nohash_0.wav")
    wav(root / "_background_noise_" / "pink_noise.wav")
    (root / "validation_list.txt").write_text("".join(f"{w}/bb_nohash_0.wav\n" for w in ("yes", "no", "marvin")))
    (root / "testing_list.txt").write_text("".join(f"{w}/cc_nohash_0.wav\n" for w in ("yes", "no", "marvin")))
    return root


@pytest.fixture
def fsc(tmp_path: Path, wav: Callable[..., Path], table: Callable[[Path, Rows], Path]) -> Path:
    root = tmp_path / "fluent_speech_commands_dataset"
    intents = (("change language", "none", "none"), ("activate", "lights", "kitchen"), ("activate", "music", "none"))
    for split in ("train", "valid", "test"):
        rows = []
        for i, (action, thing, place) in enumerate(intents):
            path = f"wavs/speakers/{split}Speaker/{i}.wav"
            wav(root / path)
            rows.append(
                {
                    "": i,
                    "path": path,
                    "speakerId": f"{split}Speaker",
                    "transcription": "Turn it, please",
                    "action": action,
                    "object": thing,
                    "location": place,
                }
            )
        table(root / "data" / f"{split}_data.csv", rows)
    return root


@pytest.fixture
def iemocap(tmp_path: Path, wav: Callable[..., Path]) -> Path:
    root = tmp_path / "IEMOCAP_full_release"
    for session in range(1, 6):
        folder = root / f"Session{session}"
        evaluation = folder / "dialog" / "EmoEvaluation"
        (evaluation / "Categorical").mkdir(parents=True)
        (evaluation / "Categorical" / "e1.txt").write_text("Ses01F_impro01_F000 :Neutral; ()\n")
        for dialog in (f"Ses0{session}F_impro01", f"Ses0{session}M_script01_1"):
            lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"]
            for gender in "FM":
                for i, emotion in enumerate(("neu", "hap", "exc", "sad", "ang", "fru", "xxx")):
                    turn = f"{dialog}_{gender}00{i}"
                    lines.append(f"\n[{i}.2901 - {i + 1}.2357]\t{turn}\t{emotion}\t[2.5000, 2.5000, 2.5000]\n")
                    lines.append("C-E2:\tNeutral;\t()\n")
                    wav(folder / "sentences" / "wav" / dialog / f"{turn}.wav", seconds=0.01)
            (evaluation / f"{dialog}.txt").write_text("".join(lines))
            (evaluation / f"._{dialog}.txt").write_bytes(b"\xff\x00mac")
    return root


@pytest.fixture
def fsd50k(tmp_path: Path, wav: Callable[..., Path], table: Callable[[Path, Rows], Path]) -> Path:
    """Write three tags whose order in the vocabulary is not alphabetical."""
    root = tmp_path / "FSD50K"
    truth, tags = root / "FSD50K.ground_truth", ("Music,Guitar", "Rain", "Guitar,Music,Rain")
    for name, first in (("dev", 100), ("eval", 900)):
        rows = []
        for i in range(12):
            wav(root / f"FSD50K.{name}_audio" / f"{first + i}.wav")
            row = {"fname": first + i, "labels": tags[i % 3], "mids": "/m/1"}
            rows.append(row | ({"split": ("train", "train", "val")[i // 3 % 3]} if name == "dev" else {}))
        table(truth / f"{name}.csv", rows)
    (truth / "vocabulary.csv").write_text("0,Rain,/m/06mb1\n1,Guitar,/m/0342h\n2,Music,/m/04rlf\n")
    return root
