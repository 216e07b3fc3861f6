"""Python as the command line: what commands do, methods do, and their answers are plain records."""

import dataclasses
import datetime
import json
import pydoc
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from cl_ast import AudioError, Failure, Manager, Prediction, RegistryError, Window
from cl_ast.errors import TaskNotFoundError
from tests.cli.conftest import Run

PLAIN = (str, int, float, bool, type(None), Path, datetime.datetime)


@pytest.fixture
def manager(registry: Path) -> Iterator[Manager]:
    with Manager.open(registry, device="cpu") as opened:
        yield opened


@pytest.fixture
def clip(data: Path) -> Path:
    return data / "tones" / "low" / "00.wav"


def is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(one) for key, one in value.items())
    return all(map(is_plain, value)) if isinstance(value, list | tuple) else isinstance(value, PLAIN)


@pytest.mark.slow
def test_tasks_are_managed_as_on_the_command_line(manager: Manager, cl: Run) -> None:
    assert [task.name for task in manager.tasks()] == ["tones", "noises", "chirps"]
    assert [task.name for task in manager.tasks(["CHIRPS"])] == ["chirps"]
    task, versions = manager.show("noises")
    assert task.labels == ("clicks", "hiss") and [one.number for one in versions] == [1]
    assert versions[0].training["epochs"] == 2
    assert manager.rename("noises", "sounds").name == "sounds"
    manager.remove("tones")
    assert [task["name"] for task in cl("tasks", "--format", "json").fine().json] == ["sounds", "chirps"]
    manager.undo()
    assert [task.name for task in manager.tasks()] == ["tones", "sounds", "chirps"]
    with pytest.raises(RegistryError):
        manager.rollback("tones")
    manager.route(["tones"])
    assert manager.rollback("tones").number == 1
    for method in (manager.show, manager.splits, manager.remove, manager.rollback):
        with pytest.raises(TaskNotFoundError):
            method("nothing")


def test_splits_are_those_of_the_command(manager: Manager, cl: Run) -> None:
    found = manager.splits("tones")
    assert {split: len(clips) for split, clips in found.clips.items()} == {"train": 14, "validation": 2, "test": 4}
    assert str(found.clips["test"][0].path) in cl("splits", "tones", "--format", "csv").fine().out


def test_one_clip_or_many_in_any_form(manager: Manager, clip: Path, data: Path) -> None:
    samples, _ = soundfile.read(clip, dtype="float32")
    (wanted,) = manager.predict(clip, task="tones")
    assert isinstance(wanted, Prediction)
    with clip.open("rb") as file:
        (opened,) = manager.predict(file, task="tones")
    for one in (str(clip), samples, torch.from_numpy(samples), samples.astype(np.float64), [clip], iter([samples])):
        (answer,) = manager.predict(one, task="tones")
        assert answer.labels == opened.labels == wanted.labels, type(one)
    paths = sorted((data / "tones" / "high").iterdir())[:3]
    several = [answer.labels for answer in manager.predict(paths, task="tones")]
    assert several == [answer.labels for answer in manager.predict((str(path) for path in paths), task="tones")]
    rows = np.stack([soundfile.read(path, dtype="float32")[0] for path in paths])
    assert [answer.labels for answer in manager.predict(rows, task="tones")] == several
    assert len(list(manager.predict(samples, task="tones", window=Window(0.25, 0.25)))) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "array", [np.zeros((1, 2, 8_000), np.float32), np.zeros(8_000, np.int16), np.float32(1)], ids=["3d", "int", "0d"]
)
def test_an_array_that_is_no_clip_says_so(manager: Manager, array: np.ndarray) -> None:
    with pytest.raises(AudioError, match="mono samples at 16 kHz"):
        list(manager.predict(array, task="tones"))


def test_a_failure_is_an_answer_too(manager: Manager, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    answers = list(manager.predict([clip, tmp_path / "broken.wav", clip]))
    assert [answer.ok for answer in answers] == [True, False, True]
    assert [answer.task for answer in answers] == ["tones", None, "tones"]
    assert [len(answer.labels) for answer in answers] == [2, 0, 2]
    assert [answer.known for answer in answers] == [True, False, True]
    failure = answers[1]
    assert isinstance(failure, Failure)
    assert "broken.wav" in failure.reason and isinstance(failure.error, AudioError)
    assert failure.to_json() == {"path": str(tmp_path / "broken.wav"), "error": failure.reason}
    assert failure == Failure(failure.path, failure.error)


def test_answers_are_records_for_a_table(manager: Manager, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    records = [dataclasses.asdict(answer) for answer in manager.predict([clip, tmp_path / "broken.wav"])]
    assert json.loads(json.dumps(records))[0]["path"] == str(clip)
    assert set(records[1]) == {"path", "reason"}
    measured, _ = manager.evaluate(["tones"])
    for record in (*measured, *manager.tasks(), *manager.show("tones")[1], manager.splits("tones")):
        assert is_plain(dataclasses.asdict(record)), record


def test_help_says_what_each_method_does_in_a_line_or_two() -> None:
    page = pydoc.plain(pydoc.render_doc(Manager))
    assert len(page) < 8_000
    assert page.count("\n") < 130
    assert " at 0x" not in page  # a default that says nothing to a reader
    for name in ("tasks", "show", "splits", "rename", "remove", "rollback", "evaluate", "predict"):
        assert re.search(rf"^ \|  {name}\(self", page, re.MULTILINE)
