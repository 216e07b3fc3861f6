"""What a task hears: clips that are longer than it takes are cut where they sound, in training as in `predict`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import streams
from cl_ast.audio import windows
from tests.cli.conftest import Run
from tests.cli.sounds import RATE, SOUNDS

Call = Callable[..., Path]


def _write(path: Path, label: str, random: np.random.Generator, at: float, seconds: float) -> Path:
    """Write faint noise with a tone of half a second in it."""
    samples = random.normal(0, 0.002, round(seconds * RATE))
    first = round(at * RATE)
    samples[first : first + RATE // 2] += 0.5 * SOUNDS["tones"][label](random, np.arange(RATE // 2) / RATE)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE)
    return path


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """call("low", at=2.0, seconds=6.0): a recording with a call of `tones` in it."""
    return lambda label, at=2.0, seconds=6.0: _write(
        tmp_path / f"{label}.wav", label, np.random.default_rng(3), at, seconds
    )


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """A folder of labelled recordings of 1.5 s, each with a call somewhere after the first half second."""
    random = np.random.default_rng(1)
    for label in SOUNDS["tones"]:
        for number in range(10):
            _write(tmp_path / "calls" / label / f"{number}.wav", label, random, random.choice([0.5, 1.0]), 1.5)
    return tmp_path / "calls"


def test_a_long_recording_is_answered_where_it_sounds(cl: Run, call: Call, tmp_path: Path) -> None:
    for label in SOUNDS["tones"]:
        path = call(label)
        (answer,) = cl("predict", path, "--task", "tones", "--format", "json").fine().json
        assert answer["heard"] == [2.0, 2.5]
        assert (answer["windows"], answer["clip_seconds"]) == (1, 6)
        assert answer["notes"] == ["joined over 1 of 12 windows of 0.5 s that sound"]
        samples, _ = soundfile.read(path)
        soundfile.write(tmp_path / "cut.wav", samples[2 * RATE : 2 * RATE + RATE // 2], RATE)
        (cut,) = cl("predict", tmp_path / "cut.wav", "--task", "tones", "--format", "json").fine().json
        assert answer["labels"] == [
            {"label": one["label"], "score": pytest.approx(one["score"], abs=1e-5)} for one in cut["labels"]
        ]


@pytest.mark.slow
def test_the_router_and_the_name_agree_on_the_windows(cl: Run, call: Call, data: Path) -> None:
    clips = [call("low", 2.2), call("high", 10.1, 15.0), data / "chirps" / "up" / "00.wav"]
    routed = cl("predict", *clips, "--format", "json").fine().json
    every = cl("predict", *clips, "--all", "--format", "json").fine().json
    for path, answer in zip(clips, routed, strict=True):
        by_name = cl("predict", path, "--task", answer["task"], "--format", "json").fine().json[0]
        (same, *_) = [one for one in every if one["path"] == str(path)]
        for other in (same, answer):
            for key in ("heard", "windows", "notes"):
                assert other.get(key) == by_name.get(key)
        assert answer["labels"] == [
            {"label": one["label"], "score": pytest.approx(one["score"], abs=1e-5)} for one in by_name["labels"]
        ]
    assert "windows" in routed[1]
    assert "windows" not in routed[2]


@pytest.mark.slow
def test_a_recording_that_is_not_in_memory_is_answered_alike(
    cl: Run, call: Call, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.wav"
    soundfile.write(broken, np.concatenate([np.full(40_000, 0.1), [np.nan]]), RATE, subtype="FLOAT")
    clips = [call("low", 2.2), data / "tones" / "high" / "00.wav", broken, call("high", 10.1, 15.0)]
    for words in ([], ["--task", "tones"]):
        before = cl("predict", *clips, *words, "--format", "json")
        with monkeypatch.context() as patch:
            patch.setattr(windows, "_AHEAD_SECONDS", 1.0)
            after = cl("predict", *clips, *words, "--format", "json")
        assert (before.code, after.code) == (1, 1)
        assert before.err == after.err
        assert [one["path"] for one in after.json] == [str(path) for path in clips if path != broken]
        for one, other in zip(before.json, after.json, strict=True):
            assert other["labels"] == [
                {**label, "score": pytest.approx(label["score"], abs=1e-5)} for label in one["labels"]
            ]
            for key in ("path", "task", "known", "heard", "windows", "clip_seconds", "notes"):
                assert other.get(key) == one.get(key)


def test_short_clips_answer_exactly_as_with_whole(cl: Run, data: Path) -> None:
    words = ["predict", data / "tones", "--task", "tones", "--format", "json"]
    assert cl(*words).fine().json == cl(*words, "--whole").fine().json


@pytest.mark.slow
@pytest.mark.parametrize("crop", ["loudest", "start", "all"])
def test_longer_training_clips_are_named_and_cut_where_they_sound(
    run: Run, calls: Path, quick: list[object], tmp_path: Path, crop: str
) -> None:
    home = tmp_path / "registry"
    words = [*quick, "--max-seconds", 0.5, "--crop", crop, "--format", "json"]
    answer = run(home, "add-task", calls, *words).fine()
    train = streams.load(calls).train
    assert (
        f"calls: {len(train)} of {len(train)} training clips are longer than the 0.5 s that the task hears"
        in answer.err
    )
    names = [f"{clip.path.parent.name}/{clip.path.name}" for clip in train]
    assert f"({names[0]}, {names[1]}, {names[2]} and {len(names) - 3} more)" in answer.err
    assert "hears 0.5 s" in answer.err
    assert answer.json["hears"] == 0.5
    (measured,) = answer.json["measured"]
    shown = run(home, "show", "calls", "--format", "json").json
    assert (shown["hears"], shown["training"]["crop"], shown["versions"][0]["hears"]) == (0.5, crop, 0.5)
    page = run(home, "show", "calls").out
    assert "0.5 s of a clip at a time" in page
    assert f"crop {crop}" in page
    test = streams.load(calls).test
    predicted = run(home, "predict", *(clip.path for clip in test), "--task", "calls", "--format", "json").json
    right = sum(one["labels"][0]["label"] == clip.label for one, clip in zip(predicted, test, strict=True))
    assert measured["accuracy"] == right / len(test)  # `evaluate` measures what `predict` answers
    again = tmp_path / "again"
    run(home, "relearn", "--to", again, "--backbone", quick[1]).fine()
    assert run(again, "show", "calls", "--format", "json").json["training"]["crop"] == crop
    assert _logits(home, train[0].path) == pytest.approx(_logits(again, train[0].path), abs=1e-6)


def _logits(home: Path, clip: Path) -> list[float]:
    from cl_ast import Manager
    from cl_ast.audio.reading import read

    with Manager.open(home, device="cpu") as manager:
        return [float(value) for value in manager.logits([read(clip)], "calls")[0]]


def test_tasks_says_what_each_hears_also_of_an_older_release(cl: Run, registry: Path) -> None:
    from cl_ast.tasks.length import KEY
    from registry import Registry, TaskRecord

    assert [one["hears"] for one in cl("tasks", "--format", "json").json] == [0.5] * 3
    header, _, *rows = cl("tasks").out.splitlines()
    assert "hears" in header
    assert all("0.5 s" in row for row in rows[:3])
    with Registry.open(registry) as opened:  # as an older release, or somebody else, committed a task
        record: TaskRecord = opened.task("tones")
        facts = record.version.facts()
        training = {key: value for key, value in facts.training.items() if key != KEY}
        for wrong in ({}, {KEY: "long"}, {KEY: -1}):
            from dataclasses import replace

            data = opened.read_adapter(record.version)
            opened.commit("tones", data, replace(facts, training={**training, **wrong}), replace=True)
            shown = cl("show", "tones", "--format", "json").json
            assert (shown["hears"], shown["versions"][-1]["hears"]) == (0.5, None)
    assert {one["name"]: one["hears"] for one in cl("tasks", "--format", "json").json}["tones"] == 0.5
