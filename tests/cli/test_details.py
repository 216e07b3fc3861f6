"""Why a task erred: `evaluate --details`, `evaluate --data` on a folder of one's own, and `splits`."""

import csv
import io
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import streams
from cl_ast.evaluation.intervals import wilson
from tests.cli.conftest import MakeFolder, Run, Unchanged


@pytest.fixture
def mislabelled(data: Path, tmp_path: Path) -> Path:
    """A labelled folder for `tones`: two clips of each class, the third of "high" in truth a low tone."""
    folder = tmp_path / "own"
    for label, source in (("low", "low"), ("high", "high")):
        (folder / label).mkdir(parents=True)
        for number in range(2):
            shutil.copy(data / "tones" / source / f"{number:02}.wav", folder / label / f"copy{number}.wav")
    shutil.copy(data / "tones" / "low" / "02.wav", folder / "high" / "wrong.wav")
    return folder


def finite(value: Any) -> bool:
    """Whether every number in a JSON value is finite."""
    if isinstance(value, dict | list):
        return all(map(finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


@pytest.mark.parametrize(
    ("right", "clips", "low", "high"),
    # Of R's binom::binom.confint(method = "wilson") and Brown, Cai & DasGupta 2001.
    [(2, 2, 0.3424, 1.0), (0, 2, 0.0, 0.6576), (8, 15, 0.3012, 0.7519), (50, 100, 0.4038, 0.5962)],
)
def test_the_interval_is_that_of_wilson(right: int, clips: int, low: float, high: float) -> None:
    assert wilson(right, clips) == pytest.approx((low, high), abs=1e-4)
    assert wilson(0, 0) is None


def test_details_say_every_class_every_confusion_and_every_wrong_clip(cl: Run, mislabelled: Path) -> None:
    (found,) = cl("evaluate", "tones", "--data", mislabelled, "--details", "--format", "json").fine().json
    assert finite(found)
    assert (found["clips"], found["by_name"]["right"]) == (5, 4)
    assert found["by_name"]["interval"] == pytest.approx(wilson(4, 5))
    assert {one["label"]: (one["right"], one["clips"]) for one in found["classes"]} == {"high": (2, 3), "low": (2, 2)}
    assert found["labels"] == ["high", "low"] and found["confusion"] == [[2, 1], [0, 2]]
    assert found["confusions"] == [{"label": "high", "predicted": "low", "clips": 1}]
    (wrong,) = found["wrong"]
    assert Path(wrong["path"]) == mislabelled / "high" / "wrong.wav"
    assert (wrong["label"], wrong["predicted"]) == ("high", "low") and 0.5 < wrong["probability"] <= 1


@pytest.mark.slow
def test_misrouted_clips_say_where_to_and_by_what(cl: Run, data: Path, tmp_path: Path) -> None:
    """Chirps that are labelled as tones go to `chirps`, as `predict` says of each."""
    for label in ("low", "high"):
        (tmp_path / "own" / label).mkdir(parents=True)
        shutil.copy(data / "tones" / label / "00.wav", tmp_path / "own" / label)
    shutil.copy(data / "chirps" / "up" / "01.wav", tmp_path / "own" / "high" / "chirp.wav")
    words = ["evaluate", "tones", "--data", tmp_path / "own", "--details"]
    (found,) = cl(*words, "--format", "json").fine().json
    (astray,) = (one for one in found["misrouted"] if one["task"] != "tones")
    (answer,) = cl("predict", astray["path"], "--format", "json").json
    assert Path(astray["path"]).name == "chirp.wav"
    assert (astray["task"], astray["known"]) == (answer["task"], answer["known"]) == ("chirps", astray["known"])
    assert astray["task_score"] == pytest.approx(answer["tasks"][0]["score"], abs=1e-6) and 0 <= astray["p_value"] <= 1
    assert "chirp.wav" in cl(*words).fine().out.split("not sent to tones")[1]
    (by_name,) = cl(*words, "--by-name", "--format", "json").fine().json
    assert (by_name["routed"], by_name["misrouted"]) == (None, [])


def test_csv_has_a_line_a_clip_and_escapes_what_a_spreadsheet_would_run(cl: Run, mislabelled: Path, data: Path) -> None:
    name = "=cmd(1).wav"
    shutil.copy(data / "tones" / "low" / "03.wav", mislabelled / "low" / name)
    out = cl("evaluate", "tones", "--data", mislabelled, "--details", "--format", "csv").fine().out
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 6 and sum(row["right"] == "True" for row in rows) == 5
    (wrong,) = (row for row in rows if row["right"] == "False")
    assert (wrong["label"], wrong["predicted"], Path(wrong["path"]).name) == ("high", "low", "wrong.wav")
    assert {row["routed_task"] for row in rows} == {"tones"} and all(0 <= float(row["p_value"]) <= 1 for row in rows)


@pytest.mark.slow
def test_details_of_stored_tasks_are_measured_and_recorded(cl: Run, data: Path) -> None:
    found = cl("evaluate", "--details", "--format", "json").fine().json
    rows = cl("evaluate", "--format", "json").fine().json
    assert [{key: one[key] for key in rows[0]} for one in found] == rows
    for one in found:
        assert one["by_name"]["accuracy"] == one["accuracy"] and one["routed"]["accuracy"] == one["auto_accuracy"]
        assert sum(map(sum, one["confusion"])) == one["clips"] == len(streams.load(data / one["task"]).test)
    out = cl("evaluate", "--details").fine().out
    assert "100.0" not in out and re.search(r"\d of \d right \(\d+–\d+ %\)", out)
    assert {"high", "down", "hiss"} <= {line.split()[0] for line in out.splitlines() if line.strip()}


@pytest.mark.slow
def test_a_terminal_of_80_columns_shows_the_first_of_a_long_list(
    cl: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    for label, source in (("low", "high"), ("high", "low")):  # all of them wrong
        shutil.copytree(data / "tones" / source, tmp_path / "own" / label)
        for clip in (data / "tones" / source).iterdir():
            shutil.copy(clip, tmp_path / "own" / label / f"again-{clip.name}")
    out = cl("evaluate", "tones", "--data", tmp_path / "own", "--details", "--by-name").fine().out
    out = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert max(map(len, out.splitlines())) <= 80
    count = len(cl("evaluate", "tones", "--data", tmp_path / "own", "--details", "--format", "json").json[0]["wrong"])
    assert count > 30 and f"… {count - 20} more: --format csv" in out


def test_a_folder_of_ones_own_is_measured_and_nothing_is_recorded(
    registry: Path, run: Run, mislabelled: Path, unchanged: Unchanged
) -> None:
    with unchanged(registry):
        (row,) = run(registry, "evaluate", "tones", "--data", mislabelled, "--format", "json").fine().json
        out = run(registry, "evaluate", "tones", "--data", mislabelled).fine().out
    assert (row["clips"], row["right"], row["accuracy"]) == (5, 4, 0.8)
    assert row["interval"] == pytest.approx(wilson(4, 5))
    assert "4 of 5 right (38–96 %)" in out


def test_labels_that_the_task_does_not_know_are_named_and_counted(cl: Run, data: Path, mislabelled: Path) -> None:
    shutil.copytree(data / "noises" / "hiss", mislabelled / "hiss")
    (mislabelled / "one").mkdir()
    shutil.copy(data / "noises" / "clicks" / "00.wav", mislabelled / "one")  # a class of one clip
    answer = cl("evaluate", "tones", "--data", mislabelled, "--format", "json").fine()
    (row,) = answer.json
    assert row["other_labels"] == {"hiss": 10, "one": 1} and row["clips"] == 5
    assert "11 clips left out, as tones does not know their labels: hiss (10), one (1)" in answer.err
    cl("-q", "evaluate", "tones", "--data", data / "chirps").refused("none of its labels", "down, up", "high, low")
    cl("-q", "evaluate", "tones", "--data", mislabelled / "no-such").refused("no-such")
    assert cl("evaluate", "--data", mislabelled).code == cl("evaluate", "a", "b", "--data", mislabelled).code == 2


def test_a_table_of_labels_is_read_and_its_test_clips_are_used(cl: Run, data: Path, mislabelled: Path) -> None:
    rows = [("low/copy0.wav", "low", "train"), ("low/copy1.wav", "low", "test"), ("high/copy0.wav", "low", "test")]
    lines = [f"{file},{label},{split}" for file, label, split in rows]
    (mislabelled / "metadata.csv").write_text("\n".join(["file,label,split", *lines]))
    answer = cl("evaluate", "tones", "--data", mislabelled, "--format", "json").fine()
    assert (answer.json[0]["clips"], answer.json[0]["right"]) == (2, 1)
    assert "its own split is used: 2 of 3 clips test" in answer.err


def test_clips_that_the_task_was_trained_on_are_counted(cl: Run, data: Path, tmp_path: Path) -> None:
    task = streams.load(data / "tones")
    copy = shutil.copytree(data / "tones", tmp_path / "copy")
    answer = cl("evaluate", "tones", "--data", copy, "--format", "json").fine()
    assert answer.json[0]["trained_on"] == len(task.train) + len(task.validation)
    assert "16 of the 20 clips trained or validated tones" in answer.err


def test_an_imported_task_is_measured_by_name(
    stage: MakeFolder, run: Run, registry: Path, tmp_path: Path, mislabelled: Path
) -> None:
    run(registry, "export", "tones", tmp_path / "out").fine()
    guest = stage("tones", "guest")
    run(guest, "import", tmp_path / "out", "--name", "theirs").fine()
    run(guest, "-q", "evaluate", "theirs").refused("imported")
    (row,) = run(guest, "evaluate", "theirs", "--data", mislabelled, "--format", "json").fine().json
    assert (row["task"], row["right"], row["auto_accuracy"]) == ("theirs", 4, None)
    run(guest, "-q", "splits", "theirs").refused("theirs", "imported")


def test_splits_lists_which_clip_is_in_which_split(cl: Run, data: Path) -> None:
    task = streams.load(data / "tones")
    found = cl("splits", "tones", "--format", "json").fine().json
    for split in ("train", "validation", "test"):
        listed = {(one["path"], one["label"]) for one in found["clips"] if one["split"] == split}
        assert listed == {(str(clip.path), clip.label) for clip in getattr(task, split)}
    assert (found["task"], found["version"], found["protocol"]) == ("tones", 1, task.protocol)
    assert found["missing"] == {"train": 0, "validation": 0, "test": 0}
    rows = list(csv.DictReader(io.StringIO(cl("splits", "TONES", "--format", "csv").fine().out)))
    assert rows == found["clips"]
    out = cl("splits", "tones").fine().out
    assert str(data / "tones") in out and "low/00.wav" in out


@pytest.mark.slow
def test_splits_are_those_of_the_stored_version_and_say_what_is_missing(
    stage: MakeFolder, run: Run, clips: MakeFolder, quick: list[object]
) -> None:
    home, folder = stage("tones"), clips("moving")
    run(home, "add-task", folder, *quick, "--no-eval").fine()
    before = run(home, "splits", "moving", "--format", "json").fine().json
    shutil.copy(folder / "low" / "00.wav", folder / "low" / "later.wav")
    assert run(home, "splits", "moving", "--format", "json").fine().json == before
    gone = next(one for one in before["clips"] if one["split"] == "test")
    Path(gone["path"]).unlink()
    answer = run(home, "-q", "splits", "moving", "--format", "json")
    assert answer.code == 1 and "gone or have changed since it was trained: 1 test" in answer.err
    assert answer.json["missing"]["test"] == 1
    assert [one for one in before["clips"] if one != gone] == json.loads(answer.out)["clips"]
    shutil.rmtree(folder)
    run(home, "-q", "splits", "moving").refused("moving is not there", "14 train, 2 validation, 4 test", "put")
