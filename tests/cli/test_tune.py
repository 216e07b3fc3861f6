"""`tune`: thresholds for each class from a background, stored as a version, shown and used."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import Run
from tests.cli.served import served, until


@pytest.fixture
def background(tmp_path: Path) -> Path:
    """Twenty seconds in which high and low tones take turns, mixed ever more, so that the task is ever less sure."""
    folder = tmp_path / "nights"
    folder.mkdir()
    time = np.arange(16_000) / 16_000
    low, high = np.sin(2 * np.pi * 300 * time), np.sin(2 * np.pi * 3_000 * time)
    for number in range(2):
        samples = np.zeros(10 * 16_000)
        for second in range(10):
            share = (10 * number + second) / 40
            first, other = (low, high) if second % 2 else (high, low)
            samples[second * 16_000 :][:16_000] = 0.4 * ((1 - share) * first + share * other)
        soundfile.write(folder / f"night{number}.flac", samples, 16_000)
    return folder


def _events(registry: Path, folder: Path, **given: object) -> list[str]:
    """Return the labels of the events in a folder, as the library finds them."""
    from cl_ast import Manager
    from cl_ast.events import EventSettings, EventsOf, WindowScorer

    with Manager.open(registry, device="cpu") as manager:
        scorer = WindowScorer(manager.session, EventSettings(task="tones", **given))  # type: ignore[arg-type]
        recordings = [EventsOf(path, scorer) for path in sorted(folder.iterdir())]
        return [str(event.label) for one in recordings for event in one if not event.why]


@pytest.mark.slow
def test_thresholds_keep_to_the_false_alarms_and_are_used(registry: Path, run: Run, background: Path) -> None:
    clip = next(background.iterdir())
    before = run(registry, "show", "tones", "--format", "json").fine().json
    usual = _events(registry, background)
    assert len(usual) > 2  # there is something to be tuned
    words = ["tune", "tones", "--background", background, "--false-alarms-per-hour", 180]  # one in twenty seconds
    found = run(registry, *words, "--format", "json").fine().json
    assert found["hours"] == pytest.approx(20 / 3600, abs=1e-4)
    assert found["unreached"] == []
    events = _events(registry, background)
    assert {label: one["false_alarms"] for label, one in found["labels"].items()} == {
        label: events.count(label) for label in ("high", "low")
    }
    assert all(events.count(label) <= 1 for label in ("high", "low"))
    assert _events(registry, background, tuned=False) == usual
    after = run(registry, "show", "tones", "--format", "json").fine().json
    assert after["version"] == before["version"] + 1
    recorded = {name: value for name, value in found.items() if name not in ("task", "unreached")}
    assert after["training"]["thresholds"] == recorded
    assert "events begin at" in run(registry, "show", "tones").fine().out
    assert after["training"]["routing"] == before["training"]["routing"]
    assert "tones" in {
        task["task"] for task in run(registry, "predict", clip, "--format", "json").fine().json[0]["tasks"]
    }
    run(registry, "verify").fine()
    run(registry, "route", "tones", "--alpha", 0.02).fine()
    again = run(registry, "show", "tones", "--format", "json").fine().json
    assert again["training"]["thresholds"] == recorded


@pytest.mark.slow
def test_thresholds_are_for_the_windows_that_they_were_tuned_with(registry: Path, run: Run, background: Path) -> None:
    words = ["tune", "tones", "--background", background, "--false-alarms-per-hour", 180]
    usual = run(registry, *words, "--format", "json").fine().json
    windows = ["--window", 0.4, "--hop", 0.1]
    found = run(registry, *words, *windows, "--format", "json").fine().json
    assert (found["window"], found["hop"]) == (0.4, 0.1)
    assert (found["window"], found["hop"]) != (usual["window"], usual["hop"])
    events = _events(registry, background, window=0.4, hop=0.1)
    assert {label: one["false_alarms"] for label, one in found["labels"].items()} == {
        label: events.count(label) for label in ("high", "low")
    }
    assert "windows of 0.4 s, hop 0.1 s" in run(registry, "show", "tones").fine().out
    searched = ["events", background, "--task", "tones"]
    assert run(registry, *searched, *windows).fine().err == ""
    other = " ".join(run(registry, *searched).fine().err.split())
    assert "the thresholds of tones were tuned for windows of 0.4 s, hop 0.1 s, and these are windows of" in other
    assert run(registry, *searched, "--on", 0.6).fine().err == ""
    run(registry, "-q", *words, "--hop", 9).refused("hop of 9 s")


@pytest.mark.slow
def test_thresholds_of_a_timeline_are_for_timelines(registry: Path, run: Run, background: Path) -> None:
    words = ["tune", "tones", "--background", background, "--false-alarms-per-hour", 180]
    usual = run(registry, *words, "--format", "json").fine().json
    assert usual["timeline"] is False
    searched = ["events", background, "--task", "tones"]
    said = (
        "were tuned for windows of 0.5 s, hop {} s{}, and these are windows of 0.5 s, hop {} s{}, whose scores differ"
    )
    with_one = " ".join(run(registry, *searched, "--timeline", "--hop", usual["hop"]).fine().err.split())
    assert said.format(f"{usual['hop']:g}", "", f"{usual['hop']:g}", ", with a timeline") in with_one
    found = run(registry, *words, "--timeline", "--format", "json").fine().json
    assert found["timeline"] is True and found["hop"] > usual["hop"]
    events = _events(registry, background, timeline=True)
    assert {label: one["false_alarms"] for label, one in found["labels"].items()} == {
        label: events.count(label) for label in ("high", "low")
    }
    assert f"windows of 0.5 s, hop {found['hop']:g} s, with a timeline" in run(registry, "show", "tones").fine().out
    assert run(registry, *searched, "--timeline").fine().err == ""
    without = said.format(f"{found['hop']:g}", ", with a timeline", f"{usual['hop']:g}", "")
    assert without in " ".join(run(registry, *searched).fine().err.split())
    night = next(background.iterdir()).read_bytes()
    with served(registry) as server:
        (note,) = server.ask("/v1/events?task=tones", night).json["notes"]
        assert without in note
        assert server.ask("/v1/events?task=tones&timeline=true", night).json["notes"] == []
        job = server.ask("/v1/jobs?task=tones", night).headers["location"]
        until(lambda: server.ask(job).json["state"] == "done")
        assert server.ask(job).json["notes"] == [note]


@pytest.mark.slow
def test_a_precision_is_reached(registry: Path, run: Run, background: Path) -> None:
    words = ["tune", "tones", "--background", background, "--precision", 0.9, "--format", "csv"]
    rows = run(registry, *words).fine().out.splitlines()
    assert rows[0] == "label,on,false_alarms,found,clips,wrong"
    for row in rows[1:]:
        _, _, alarms, found, clips, wrong = row.split(",")
        assert int(found) >= 0.9 * (int(found) + int(wrong) + int(alarms))
        assert int(found) <= int(clips)


def test_what_cannot_be_tuned_is_refused(registry: Path, run: Run, background: Path, tmp_path: Path) -> None:
    words = ["-q", "tune", "tones", "--background"]
    assert "give either --false-alarms-per-hour or --precision" in run(registry, *words, background).err
    run(registry, *words, background, "--precision", 1.5).refused("a precision of 1.5 cannot be")
    run(registry, *words, tmp_path / "gone", "--precision", 0.9).refused("is no folder")
    (tmp_path / "empty").mkdir()
    run(registry, *words, tmp_path / "empty", "--precision", 0.9).refused("has no audio files")
    run(registry, "-q", "tune", "no-task", "--background", background, "--precision", 0.9).refused("no-task")
