"""`predict`: clips in, answers out, in every form."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

import streams
from cl_ast.audio import synthesis as synth
from cl_ast.audio.reading import AudioInput
from cl_ast.audio.windows import Failure
from cl_ast.inference.predicting import predict
from cl_ast.inference.prediction import Prediction, Query
from cl_ast.manager import Manager
from cl_ast.terminal.rendering import audacity
from tests.cli.conftest import Run

TASKS = ["tones", "noises", "chirps"]


@pytest.fixture
def tone(data: Path) -> Path:
    return data / "tones" / "low" / "00.wav"


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A clip of no task: an engine."""
    path = tmp_path / "engine.wav"
    soundfile.write(path, synth.render(synth.engine, np.random.default_rng(3), 0.8), 16_000)
    return path


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """1.1 seconds of a tone."""
    path = tmp_path / "long.wav"
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 300 * np.arange(17_600) / 16_000), 16_000)
    return path


def test_json_key_for_key(cl: Run, tone: Path) -> None:
    (answer,) = cl("predict", tone, "--format", "json").fine().json
    assert list(answer) == ["path", "task", "task_score", "known", "p_value", "tasks", "labels", "heard"]
    assert answer["path"] == str(tone)
    assert answer["task"] == "tones"
    assert isinstance(answer["known"], bool)
    assert answer["task_score"] == answer["tasks"][0]["score"]
    assert sorted(one["task"] for one in answer["tasks"]) == sorted(TASKS)
    scores = [one["score"] for one in answer["tasks"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert sorted(one["label"] for one in answer["labels"]) == ["high", "low"]
    assert sum(one["score"] for one in answer["labels"]) == pytest.approx(1, abs=1e-5)
    assert answer["labels"][0]["score"] >= answer["labels"][1]["score"]


def test_a_clip_that_fits_as_well_as_validation_clips_is_known(cl: Run, data: Path) -> None:
    """Of two validation clips, what fits as the worse one does is at the edge of the task."""
    validation = [clip.path for clip in streams.load(data / "tones").validation]
    answers = cl("predict", *validation, "--format", "json").fine().json
    assert [answer["task"] for answer in answers] == ["tones"] * 2
    assert True in [answer["known"] for answer in answers]


@pytest.mark.slow
def test_each_task_gets_its_own_clips(cl: Run, data: Path) -> None:
    for task in TASKS:
        answers = cl("predict", data / task, "--format", "json").fine().json
        right = sum(answer["task"] == task for answer in answers)
        assert (len(answers), right) == (20, 20)


def test_a_task_by_name_in_any_case(cl: Run, tone: Path) -> None:
    (answer,) = cl("predict", tone, "--task", "CHIRPS", "--format", "json").fine().json
    assert "tasks" not in answer
    assert (answer["task"], answer["task_score"], answer["known"]) == ("chirps", 1.0, True)
    assert {one["label"] for one in answer["labels"]} == {"up", "down"}


def test_a_clip_of_no_task_is_unknown(cl: Run, stranger: Path) -> None:
    (answer,) = cl("predict", stranger, "--format", "json").fine().json
    assert answer["known"] is False
    assert answer["task"] == answer["tasks"][0]["task"]
    assert f"unknown (nearest: {answer['task']})" in cl("predict", stranger).out
    assert cl("predict", stranger, "--format", "audacity").out.split("\t")[2].strip() == "unknown"


def test_top_k(cl: Run, tone: Path) -> None:
    (answer,) = cl("predict", tone, "--top-k", 1, "--format", "json").fine().json
    assert len(answer["labels"]) == 1


def test_folders_are_searched_and_the_order_is_kept(cl: Run, data: Path, tmp_path: Path, tone: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("b.wav", "er/a.WAV", "c.flac"):
        samples, rate = soundfile.read(tone)
        soundfile.write(tmp_path / "deep" / name, samples, rate)
    (tmp_path / "deep" / "notes.txt").write_text("no audio")
    other = data / "chirps" / "up" / "00.wav"
    answers = cl("predict", other, tmp_path / "deep", tone, "--format", "json").fine().json
    inside = [str(tmp_path / "deep" / name) for name in ("b.wav", "c.flac", "er/a.WAV")]
    assert [answer["path"] for answer in answers] == [str(other), *inside, str(tone)]


def test_standard_input(cl: Run, tone: Path) -> None:
    (answer,) = cl("predict", "-", "--format", "json", stdin=tone.read_bytes()).fine().json
    (same,) = cl("predict", tone, "--format", "json").json
    assert answer == {**same, "path": "-"}


def test_windows(cl: Run, long: Path) -> None:
    answers = cl("predict", long, "--window", 0.5, "--hop", 0.25, "--format", "json").fine().json
    assert all(list(answer)[:3] == ["path", "start", "end"] for answer in answers)
    spans = [(answer["start"], answer["end"]) for answer in answers]
    assert spans == [(0, 0.5), (0.25, 0.75), (0.5, 1.0), (0.75, 1.1)]
    back_to_back = cl("predict", long, "--window", 0.5, "--format", "json").fine().json
    assert [answer["start"] for answer in back_to_back] == [0, 0.5]
    assert "0.75" in cl("predict", long, "--window", 0.5, "--hop", 0.25).fine().out


def test_windows_for_audacity(cl: Run, long: Path) -> None:
    (line,) = cl("predict", long, "--window", 0.5, "--task", "tones", "--format", "audacity").fine().out.splitlines()
    assert re.fullmatch(r"0\.000000\t1\.000000\ttones: (low|high) (0\.\d\d|1\.00)", line)


def test_neighbouring_windows_with_one_label_are_one_region() -> None:
    def window(number: int, label: str, score: float = 0.5, known: bool = True) -> Prediction:
        span = (number / 2, number / 2 + 1.0)
        return Prediction("a.wav", "t", 1.0, known, ((label, score),), None, *span, span)

    answers = [window(0, "x", 0.5), window(1, "x", 0.7), window(2, "y"), window(3, "x"), window(4, "x", known=False)]
    assert audacity.track(answers).splitlines() == [
        "0.000000\t1.250000\tt: x 0.60",
        "1.250000\t1.750000\tt: y 0.50",
        "1.750000\t2.250000\tt: x 0.50",
        "2.250000\t3.000000\tunknown",
    ]
    both = [one for number in range(2) for one in (window(number, "x"), window(number, "y"))]  # as with --all
    assert [line.split("\t")[:2] for line in audacity.track(both).splitlines()] == [["0.000000", "1.500000"]] * 2


def test_a_track_for_each_recording(cl: Run, data: Path, tone: Path, tmp_path: Path) -> None:
    words = ["predict", tone, data / "tones" / "high" / "00.wav", "--task", "tones", "--format", "audacity"]
    assert "--output DIR" in cl(*words).fine().err
    answer = cl(*words, "--output", tmp_path / "tracks").fine()
    assert answer.out == answer.err == ""
    files = sorted((tmp_path / "tracks").iterdir())
    assert [file.name for file in files] == ["00-2.txt", "00.txt"]
    for file in files:
        assert re.fullmatch(r"0\.000000\t0\.500000\ttones: \w+ [01]\.\d\d\n", file.read_text())
    cl("-q", *words, "--output", tone).refused("cannot be made", "another folder")


@pytest.mark.slow
def test_progress_is_a_bar_on_a_terminal_and_nothing_elsewhere(
    cl: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["predict", data / "tones" / "low", "--format", "jsonl"]
    plain = cl(*words).fine()
    assert plain.err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    shown = cl(*words).fine()
    assert "classifying" in shown.err and "/10" in shown.err
    assert shown.out == plain.out
    assert cl("-q", *words).fine().err == ""


def test_ctrl_c_says_what_was_answered(cl: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(self: Manager, clips: Iterable[AudioInput], query: Query) -> Iterator[Prediction | Failure]:
        yield from predict(self.session, list(clips)[:2], query)
        raise KeyboardInterrupt

    monkeypatch.setattr(Manager, "answer", stopped)
    answer = cl("predict", data / "tones" / "low", "--format", "json")
    assert answer.code == 1 and len(answer.json) == 2
    assert answer.err.splitlines() == ["cl-ast: stopped: 2 of 10 recordings were answered"]
    place = tmp_path / "out.json"
    answer = cl("predict", data / "tones" / "low", "--format", "json", "--output", place)
    assert answer.code == 1 and "is not written" in answer.err and not place.exists()


@pytest.mark.parametrize(
    "words", [["--window", 0], ["--window", 99], ["--window", 1, "--hop", 0], ["--window", 1, "--hop", 2]]
)
def test_windows_that_cannot_be(cl: Run, long: Path, words: list[int | str]) -> None:
    assert cl("predict", long, *words).refused("choose").out == ""


def test_jsonl_is_json_a_line(cl: Run, data: Path) -> None:
    folder = data / "tones" / "low"
    lines = cl("predict", folder, "--format", "jsonl").fine().out.splitlines()
    assert [json.loads(line) for line in lines] == cl("predict", folder, "--format", "json").json


def test_csv_is_a_label_a_line(cl: Run, tone: Path, long: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(cl("predict", tone, "--format", "csv").fine().out)))
    assert list(rows[0]) == ["path", "task", "task_score", "known", "p_value", "rank", "label", "score"]
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert {row["path"] for row in rows} == {str(tone)}
    cut = list(csv.DictReader(io.StringIO(cl("predict", long, "--window", 0.5, "--format", "csv").out)))
    assert [(row["start"], row["end"]) for row in cut] == [("0.0", "0.5")] * 2 + [("0.5", "1.0")] * 2


def test_table(cl: Run, tone: Path) -> None:
    out = cl("predict", tone).fine().out
    for word in ("clip", "task", "label", "probability", str(tone), "tones"):
        assert word in out


def test_any_rate_and_channels(cl: Run, tmp_path: Path, tone: Path) -> None:
    samples, _ = soundfile.read(tone)
    soundfile.write(tmp_path / "stereo.wav", np.repeat(samples, 3)[:, None].repeat(2, axis=1), 48_000, subtype="PCM_24")
    (answer,) = cl("predict", tmp_path / "stereo.wav", "--format", "json").fine().json
    assert answer["task"] == "tones"
