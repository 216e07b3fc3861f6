"""`cl-ast events`: what sounded from when to when, in all formats, and of recordings that are not whole."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from cl_ast.errors import CorruptRegistryError, NotFiniteError
from cl_ast.events import EventSettings, StreamDetector, WindowScorer
from cl_ast.events.cutting import WindowCutter
from cl_ast.manager import Manager
from cl_ast.progress import ClAstWarning
from cl_ast.terminal.commands.events import events
from cl_ast.terminal.event_options import settings_of
from streams.label_files import read_label_file
from tests.cli.conftest import MakeFolder, Run
from tests.cli.sounds import RATE
from tests.cli.test_streams import soundscape

OPTIONS = ["--task", "tones", "--on", 0.5, "--median", 0, "--min-duration", 0.1, "--hop", 0.25]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "dawn.wav"
    soundfile.write(path, soundscape(), RATE, subtype="PCM_16")
    return path


@pytest.fixture
def wanted(cl: Run, recording: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cl("events", recording, *OPTIONS, "--format", "json").fine().json
    assert found
    return found


def test_json_is_what_the_contract_says(wanted: list[dict[str, Any]], recording: Path, cl: Run) -> None:
    for one in wanted:
        assert list(one) == ["path", "start", "end", "label", "task", "score_max", "score_mean", "windows"]
        assert (one["path"], one["task"]) == (str(recording), "tones")
        assert 0 <= one["start"] < one["end"] <= 6
        assert (one["start"] * RATE).is_integer()
        assert one["score_max"] >= 0.5
    lines = [
        json.loads(line) for line in cl("events", recording, *OPTIONS, "--format", "jsonl").fine().out.splitlines()
    ]
    assert sorted((one for one in lines if "why" not in one), key=str) == sorted(wanted, key=str)
    table = cl("events", recording, *OPTIONS).fine().out
    assert f"{len(wanted)} event" in table
    assert "in 0:06.00 of 1 recording" in table


@pytest.mark.slow
def test_raven_goes_on_over_recordings_and_audacity_begins_again(
    cl: Run, wanted: list[dict[str, Any]], recording: Path, tmp_path: Path
) -> None:
    spans = [(round(one["start"] * RATE), round(one["end"] * RATE)) for one in wanted]
    second = tmp_path / "more" / "dawn.wav"
    second.parent.mkdir()
    second.write_bytes(recording.read_bytes())
    words = ["events", recording, second, *OPTIONS]
    table = list(csv.DictReader(io.StringIO(cl(*words, "--format", "raven").fine().out), delimiter="\t"))
    times = ("Begin Time (s)", "End Time (s)", "File Offset (s)")
    read = [tuple(round(float(row[name]) * RATE) for name in times) for row in table]
    assert read == [(a + at, b + at, a) for at in (0, 6 * RATE) for a, b in spans]
    assert [row["Selection"] for row in table] == [str(number + 1) for number in range(2 * len(spans))]
    assert [row["Begin Path"] for row in table] == [str(recording)] * len(spans) + [str(second)] * len(spans)

    cl(*words, "--format", "audacity", "--out", tmp_path / "out").fine()
    for name in ("dawn.txt", "dawn-2.txt"):
        lines = [line.split("\t") for line in (tmp_path / "out" / name).read_text().splitlines()]
        assert [(round(float(a) * RATE), round(float(b) * RATE)) for a, b, _ in lines] == spans
    cl(*words, "--format", "audacity", "--frequencies", "--out", tmp_path / "bands").fine()
    track = tmp_path / "bands" / "dawn.txt"
    assert track.read_text().splitlines()[1::2] == ["\\\t0.000000\t8000.000000"] * len(spans)
    marks = read_label_file(track)
    assert [(round(one.start * RATE), round(one.end * RATE), one.label) for one in marks] == [
        (*span, event["label"]) for span, event in zip(spans, wanted, strict=True)
    ]
    captions = cl("events", recording, *OPTIONS, "--format", "srt").fine().out
    assert captions.startswith("1\n00:00:0")
    assert captions.count(" --> ") == len(spans)
    rows = list(csv.DictReader(io.StringIO(cl(*words, "--format", "csv").fine().out)))
    assert [(row["on"], row["off"], row["hop"]) for row in rows] == [("0.5", "0.35", "0.25")] * 2 * len(spans)


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_stopped(cl: Run, recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    missing = tmp_path / "later.wav"
    words = ["events", recording, missing, *OPTIONS, "--out", out, "--format", "csv"]
    assert "later.wav: no such file" in cl(*words).err
    lines = [line for line in (out / "dawn.jsonl").read_text().splitlines() if "why" not in line]
    (out / "dawn.jsonl").write_text(lines[0] + "\n")  # what is there is not searched again
    missing.write_bytes(recording.read_bytes())
    cl(*words, "-q").refused("--resume")
    cl(*words, "--resume").fine()
    rows = list(csv.DictReader((out / "events.csv").open()))
    assert {row["path"] for row in rows} == {str(recording), str(missing)}
    assert [row["path"] for row in rows].count(str(recording)) == 1
    cl(*words, "--resume", "--pad", 1, "-q").refused("other settings (pad)")


def test_clips_are_as_they_were_recorded(cl: Run, tmp_path: Path) -> None:
    stereo = np.stack([soundscape().repeat(3), 0.5 * soundscape().repeat(3)], axis=1)
    path = tmp_path / "stereo.wav"
    soundfile.write(path, stereo, 3 * RATE, subtype="FLOAT")
    found = cl("events", path, *OPTIONS, "--save-clips", tmp_path / "clips", "--format", "json").fine().json
    clips = sorted((tmp_path / "clips").iterdir())
    assert len(clips) == len(found) > 0
    for one in found:
        (clip,) = [clip for clip in clips if f"_{one['start']:.3f}-{one['end']:.3f}_{one['label']}_" in clip.name]
        samples, rate = soundfile.read(clip, dtype="float32", always_2d=True)
        first, stop = round(one["start"] * 3 * RATE), round(one["end"] * 3 * RATE)
        assert rate == 3 * RATE
        assert np.array_equal(samples, stereo[first:stop])
    (tmp_path / "file").write_text("")
    answer = cl("events", path, *OPTIONS, "--save-clips", tmp_path / "file" / "clips", "--format", "json")
    assert answer.code == 1
    assert answer.json == found
    assert answer.err.count("no more clips are saved") == 1
    piped = cl("events", "-", *OPTIONS, "--save-clips", tmp_path / "piped", stdin=path.read_bytes())
    assert piped.code == 2 and "standard input can be read only once" in " ".join(piped.err.split())
    assert not (tmp_path / "piped").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
def test_a_file_that_is_cut_off_is_searched_as_far_as_it_goes(cl: Run, tmp_path: Path, kind: str) -> None:
    whole = tmp_path / f"whole.{kind}"
    soundfile.write(whole, np.tile(soundscape(), 4), RATE)
    data = whole.read_bytes()
    cut = tmp_path / f"cut.{kind}"
    cut.write_bytes(data[: len(data) * 2 // 3 + 1])
    answer = cl("events", cut, *OPTIONS, "--format", "json", "-q")
    assert answer.code == 1
    (line,) = answer.err.splitlines()
    assert f"cut.{kind}" in line
    until = float(line.partition("found up to ")[2].partition(" s")[0])
    assert 10 < until < 20
    first = cl("events", whole, *OPTIONS, "--format", "json").fine().json
    ended = [{**one, "path": ""} for one in first if one["end"] < until - 1]
    assert [{**one, "path": ""} for one in answer.json][: len(ended)] == ended


def test_recordings_of_several_channels_and_rates(cl: Run, tmp_path: Path, wanted: list[dict[str, Any]]) -> None:
    soundfile.write(tmp_path / "four.wav", np.stack([soundscape()] * 4, axis=1), RATE, subtype="PCM_16")
    found = cl("events", tmp_path / "four.wav", *OPTIONS, "--format", "json").fine().json
    assert [(one["start"], one["end"]) for one in found] == [(one["start"], one["end"]) for one in wanted]


def test_a_timeline_is_what_the_answer_is_the_mean_of(stages: dict[str, Path]) -> None:
    with Manager.open(stages["chirps"], device="cpu") as manager:
        for name in ("tones", "noises"):
            model = manager.model(name)
            features = model.settings.front_end([soundscape()[: RATE // 2], soundscape()[RATE : 3 * RATE // 2]])
            with torch.inference_mode():
                tokens = model.tokens(features)
                steps = (features.shape[1] - 16) // 16 + 1
                timeline = model.timeline(tokens)
                assert timeline.shape == (2, steps, 2)
                torch.testing.assert_close(timeline.mean(dim=1), model.classify(tokens), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_timeline_needs_tasks_that_pool_by_the_mean(
    cl: Run, clips: MakeFolder, quick: list[object], recording: Path
) -> None:
    found = cl("events", recording, "--task", "tones", "--timeline", "--on", 0.5, "--format", "json").fine().json
    assert all(one["windows"] >= 1 for one in found)
    cl("add-task", clips(), *quick, "--name", "spread-out", "--pooling", "mean+std").fine()
    cl("events", recording, "--task", "spread-out", "--timeline", "-q").refused("pools by mean+std", "--pooling mean")
    cl("events", recording, "--task", "tones", "--timeline", "--window", 5, "-q").refused("--window 0.5 or less")


def test_all_tasks_share_what_lies_below_their_adapters(
    stages: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Manager.open(stages["chirps"], device="cpu") as manager:
        singles = {}
        for task in ("tones", "noises", "chirps", "all"):
            windows: list[Any] = []
            scorer = WindowScorer(manager.session, EventSettings(task=task, hop=0.25))
            detector = StreamDetector(scorer, group=4, watch=windows.append)
            layers = 0
            run = type(manager.backbone).run

            def counted(self: Any, tokens: Any, *, first: int = 0, last: int | None = None, run: Any = run) -> Any:
                nonlocal layers
                layers += (self.shape.depth if last is None else last) - first
                return run(self, tokens, first=first, last=last)

            with monkeypatch.context() as patch:
                patch.setattr(type(manager.backbone), "run", counted)
                detector.add(soundscape()[: RATE + RATE // 4])  # four windows
            singles[task] = {one.task: one.scores for window in windows for one in window.tasks}, layers
        assert singles["all"][1] == 2 + 2  # both `linear` tasks once, and `bottleneck`
        for task in ("tones", "noises", "chirps"):
            assert singles[task][1] == 2
            np.testing.assert_allclose(singles["all"][0][task], singles[task][0][task], atol=1e-6)


@pytest.mark.slow
def test_sticky_routing_is_marked_as_approximate(cl: Run, recording: Path, tmp_path: Path) -> None:
    words = ["events", recording, "--route", "sticky", "--on", 0.5, "--hop", 0.25]
    answer = cl(*words, "--format", "jsonl", "--out", tmp_path / "out").fine()
    assert "--route sticky is approximate" in " ".join(answer.err.split())
    lines = [json.loads(line) for line in (tmp_path / "out" / "dawn.jsonl").read_text().splitlines()]
    assert [one for one in lines if "why" not in one]
    assert {one["route"] for one in lines} == {"sticky"}
    rows = list(csv.DictReader(io.StringIO(cl(*words, "--format", "csv").fine().out)))
    assert {row["route"] for row in rows} == {"sticky"}
    cl(*words[:2], "--out", tmp_path / "out", "--resume", "-q").refused("other settings (hop, off, on, route)")
    assert "--route is for the router" in cl(*words, "--task", "tones").err


def test_the_options_have_the_defaults_of_the_library() -> None:
    assert settings_of(events.make_context("events", ["dawn.wav"]).params) == EventSettings()


def test_wrong_usage_is_refused_in_one_line(cl: Run, recording: Path) -> None:
    assert cl("events", recording, "--resume").code == 2
    assert "give --format audacity" in cl("events", recording, "--frequencies", "--format", "raven").err
    assert "--alpha is for the router" in cl("events", recording, "--task", "tones", "--alpha", 0.1).err
    assert cl("events", recording, "--on", 0.4, "--off", 0.5).code == 2
    cl("events", recording, "--task", "nothing", "-q").refused("nothing")
    cl("events", recording, "--hop", 9, "-q").refused("hop of 9 s")
    assert cl("events", "gone.wav", "-q").refused("gone.wav: no such file").out == ""


@pytest.mark.slow
@pytest.mark.parametrize("task", ["all", "auto"])
def test_a_task_whose_file_is_lost_meanwhile_is_left_out_where_that_is_wanted(registry: Path, task: str) -> None:
    settings = EventSettings(task=task, hop=0.25, alpha=0)
    with Manager.open(registry, device="cpu", memory=0) as manager:
        record = manager.registry.task("tones")
        path = registry / "adapters" / f"{record.version.adapter_sha256}.safetensors"
        strict = WindowScorer(manager.session, settings)
        scorer = WindowScorer(manager.session, settings, skip_damaged=True)
        windows = [one for group in WindowCutter("-", scorer.size, scorer.hop, 4).add(soundscape()) for one in group]
        before = scorer(windows)
        assert "tones" in {one.task for window in before for one in window.tasks}
        manager.session.model("noises")  # the one task in memory
        path.unlink()
        with pytest.raises(CorruptRegistryError, match="tones"):
            strict(windows)
        with pytest.warns(ClAstWarning, match="tones is left out"):
            after = scorer(windows)
        assert scorer.left_out == ["tones"]
        found = {one.task for window in after for one in window.tasks}
        assert found and found <= {"noises", "chirps"}
        for logits, window in scorer.by_task(windows[:2], "tones"):  # as sticky routing asks for them
            assert not len(logits) and not window.tasks


def test_a_task_whose_scores_are_no_numbers_is_left_out_of_all(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Manager.open(registry, device="cpu") as manager:
        scorer = WindowScorer(manager.session, EventSettings(task="all", hop=0.25), skip_damaged=True)
        windows = [one for group in WindowCutter("-", scorer.size, scorer.hop, 4).add(soundscape()) for one in group]
        expected = scorer(windows)
        monkeypatch.setitem(manager.session.model("tones").head, "head.bias", torch.full((2,), torch.nan))
        with pytest.warns(ClAstWarning, match="not numbers"):
            found = scorer(windows)
        for one, other in zip(found, expected, strict=True):
            assert [task.task for task in one.tasks] == ["noises", "chirps"]
            for task, same in zip(one.tasks, other.tasks[1:], strict=True):
                np.testing.assert_allclose(task.scores, same.scores, atol=1e-5)
        named = WindowScorer(manager.session, EventSettings(task="tones", hop=0.25), skip_damaged=True)
        with pytest.raises(NotFiniteError):
            named(windows)
