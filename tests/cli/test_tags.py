"""A task whose clips have several labels, from its table to answers, measurements, events, exports and the service."""

import base64
import csv
import io
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from cl_ast.manager import Manager
from cl_ast.tasks.mixed_batch import logits as together
from registry import Registry, header
from tests.cli.conftest import Run
from tests.cli.served import served

RATE = 16_000
HERTZ = {"low": 250, "high": 3_500}
SETS = (("low",), ("high",), ("high", "low"), ("hiss",), ("hiss", "low"), ("high", "hiss"))


def sound(tags: tuple[str, ...], seconds: float = 0.5, seed: int = 0) -> np.ndarray:
    random, time = np.random.default_rng(seed), np.arange(round(seconds * RATE)) / RATE
    found = (0.08 if "hiss" in tags else 0.001) * random.normal(size=len(time))
    for tag in set(tags) & set(HERTZ):
        found += 0.2 * np.sin(2 * np.pi * random.uniform(0.9, 1.1) * HERTZ[tag] * time)
    return found.astype(np.float32)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 clips, each of one or two of three tones."""
    folder = tmp_path_factory.mktemp("tags") / "mixed"
    folder.mkdir()
    rows = ["file,label"]
    for number in range(60):
        soundfile.write(folder / f"{number:02}.wav", sound(SETS[number % 6], seed=number), RATE)
        rows.append(f"{number:02}.wav,{';'.join(SETS[number % 6])}")
    (folder / "metadata.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def learned(
    mixed: Path, stages: Mapping[str, Path], run: Run, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A registry with a task of classes and then a task of tags, and what was said of the latter."""
    home = Path(shutil.copytree(stages["tones"], tmp_path_factory.mktemp("learned") / "registry"))
    words = ["--method", "bottleneck:r=4", "--epochs", 20, "--lr", 0.02, "--class-weights", "auto"]
    return home, run(home, "-q", "add-task", mixed, *words, "--format", "json").fine().json


@pytest.fixture
def home(learned: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(learned[0], tmp_path / "registry"))


@pytest.mark.slow
def test_it_is_learned_and_has_a_mean_average_precision(
    learned: tuple[Path, dict[str, Any]], run: Run, mixed: Path
) -> None:
    home, found = learned
    assert found["metric"] == "mAP" and found["accuracy"] > 0.8  # chance is a half
    measured = {one["task"]: one for one in found["measured"]}
    assert measured["tones"]["metric"] == "accuracy" and measured["tones"]["right"] is not None
    assert (
        measured["mixed"]["right"] is measured["mixed"]["interval"] is None and 0.8 < measured["mixed"]["lwlrap"] <= 1
    )
    shown = run(home, "show", "mixed", "--format", "json").fine().json
    assert shown["metric"] == "mAP" and shown["labels"] == ["high", "hiss", "low"]
    assert shown["training"]["label_kind"] == "tags" and shown["source"]["tags"] is True
    assert all(one["accuracy"] is None for one in shown["training"]["curve"])  # mAP is of all clips together
    assert "validation mAP" in run(home, "show", "mixed").fine().out
    assert [one["metric"] for one in run(home, "tasks", "--format", "json").fine().json] == ["accuracy", "mAP"]
    assert " mAP" in run(home, "tasks").fine().out
    with Registry.open(home) as registry:
        for name, form in (("tones", 1), ("mixed", 2)):
            said = header.read(registry.read_adapter(registry.task(name).version)).description()
            assert said["format"] == form and ("label_kind" in said) == (name == "mixed")


def test_averages_never_mix_accuracy_and_mean_average_precision(home: Path, run: Run) -> None:
    found = run(home, "stats", "--format", "json").fine().json
    tones, mixed = found["tasks"]
    for mode, key in (("oracle", "accuracy"), ("auto", "auto_accuracy")):
        assert found["metrics"][mode]["average_accuracy"] == tones[key]
        assert found["tag_metrics"][mode]["average_mAP"] == mixed[key]
        assert "average_accuracy" not in found["tag_metrics"][mode]
    page = run(home, "stats").fine().out
    assert "mixed (mAP)" in page and "test accuracy and mAP %" in page
    assert "average accuracy" in page and "average mAP" in page
    run(home, "remove", "mixed", "--yes").fine()
    assert "tag_metrics" not in run(home, "stats", "--format", "json").fine().json


@pytest.mark.slow
def test_an_experiment_tracker_gets_both_averages(
    home: Path, run: Run, mixed: Path, quick: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.chdir(tmp_path)
    run(home, "add-task", mixed, "--replace", *quick, "--log", "tensorboard").fine()
    report = run(home, "stats", "--format", "json").fine().json
    found = reading.EventAccumulator(str(tmp_path / "runs" / "mixed-2"))
    found.Reload()
    for mode, words in (("oracle", "by name"), ("auto", "routed")):
        for kind, metric, name in (
            ("metrics", "average_accuracy", f"average_accuracy/{words}"),
            ("tag_metrics", "average_mAP", f"average_mAP of tags/{words}"),
        ):
            assert found.Scalars(name)[0].value == pytest.approx(report[kind][mode][metric])


@pytest.mark.slow
def test_predictions_say_every_tag_above_its_threshold(home: Path, run: Run, tmp_path: Path) -> None:
    for name, tags, seconds in (("both", ("low", "high"), 0.5), ("long", ("low", "hiss"), 1.6)):
        soundfile.write(tmp_path / f"{name}.wav", sound(tags, seconds, seed=99), RATE)
    soundfile.write(tmp_path / "noise.wav", 0.1 * np.random.default_rng(0).normal(size=8_000), RATE)
    clips = [tmp_path / f"{name}.wav" for name in ("both", "long", "noise")]
    for words in ([], ["--task", "mixed"]):
        both, long, _ = run(home, "predict", *clips, *words, "--format", "json").fine().json
        assert both["task"] == long["task"] == "mixed"
        assert set(both["tags"]) == {"low", "high"} and set(long["tags"]) == {"low", "hiss"}
        assert long["windows"] > 1 and [one["label"] for one in both["labels"][:2]] == both["tags"]
    one, _ = run(home, "predict", *clips[:2], "--task", "mixed", "--top-k", 1, "--format", "json").fine().json
    assert len(one["labels"]) == 2  # all that are true
    assert "tags" not in run(home, "predict", clips[0], "--task", "tones", "--format", "json").fine().json[0]
    table = run(home, "predict", *clips, "--task", "mixed").fine().out
    assert any(f"{a}, {b}" in table for a, b in (("low", "high"), ("high", "low")))
    rows = list(csv.DictReader(io.StringIO(run(home, "predict", clips[0], "--task", "mixed", "--format", "csv").out)))
    assert {row["label"] for row in rows if row["true"] == "True"} == {"low", "high"}
    windows = run(home, "predict", clips[1], "--task", "mixed", "--window", 0.5, "--format", "audacity").fine().out
    assert {line.split("mixed: ")[1].split()[0] for line in windows.splitlines()} == {"low", "hiss"}


@pytest.mark.slow
def test_several_events_at_a_time_and_tuned_thresholds(home: Path, run: Run, tmp_path: Path, mixed: Path) -> None:
    recording = tmp_path / "recording.wav"
    parts = [sound(tags, 2.0, seed=7) for tags in (("low",), ("low", "high"), ("high",))]
    soundfile.write(recording, np.concatenate(parts), RATE)
    events = run(home, "events", recording, "--task", "mixed", "--format", "json").fine().json
    spans = {one["label"]: (one["start"], one["end"]) for one in events if one["end"] - one["start"] > 2}
    assert set(spans) == {"low", "high"} and spans["high"][0] < spans["low"][1]  # they overlap
    background = tmp_path / "background"
    background.mkdir()
    soundfile.write(background / "night.wav", sound(("hiss",), 8.0, seed=5), RATE)
    tuned = run(home, "tune", "mixed", "--background", background, "--precision", 0.9, "--format", "json").fine().json
    with Manager.open(home, device="cpu") as manager:
        settings = manager.model("mixed").settings
        assert settings.thresholds == tuple(tuned["labels"][label]["on"] for label in settings.labels)
        (answer,) = manager.predict(recording, task="mixed", top_k=None)
        assert answer.ok and answer.tags == tuple(
            label for label, score in answer.labels if score >= tuned["labels"][label]["on"]
        )


@pytest.mark.slow
def test_details_by_tag_and_a_folder_of_ones_own(home: Path, run: Run, mixed: Path) -> None:
    (found,) = run(home, "evaluate", "mixed", "--details", "--format", "json").fine().json
    assert found["metric"] == "mAP" and 0 < found["chance"] < found["accuracy"] <= 1
    assert [one["label"] for one in found["classes"]] == ["high", "hiss", "low"]
    assert found["accuracy"] == pytest.approx(np.mean([one["average_precision"] for one in found["classes"]]))
    assert "confusion" not in found and "interval" in found
    rows = list(csv.DictReader(io.StringIO(run(home, "evaluate", "mixed", "--details", "--format", "csv").out)))
    assert len(rows) == found["clips"] and {row["label"] for row in rows} <= {";".join(sorted(one)) for one in SETS}
    page = run(home, "evaluate", "mixed", "--details").fine().out
    assert "lwlrap" in page and "chance" in page and "average" in page
    (own,) = run(home, "-q", "evaluate", "mixed", "--data", mixed, "--format", "json").fine().json
    assert own["clips"] == 60 and own["other_labels"] == {}
    # A task of classes takes a label with a semicolon for one that it does not know.
    (tones,) = run(home, "-q", "evaluate", "tones", "--data", mixed, "--format", "json").fine().json
    assert tones["clips"] == 20 and tones["other_labels"]["high;low"] == 10


def test_rows_of_both_kinds_share_a_pass_through_the_backbone(home: Path) -> None:
    with Manager.open(home, device="cpu") as manager, torch.inference_mode():
        tones, tags = manager.model("tones"), manager.model("mixed")
        clip = sound(("low", "high"))
        rows = [(one, one.settings.front_end([clip])[0]) for one in (tones, tags, tones)]
        for found, (model, features) in zip(together(rows), rows, strict=True):
            assert torch.allclose(found, model.logits(features[None])[0], atol=1e-4)


@pytest.mark.slow
def test_it_is_exported_imported_rebuilt_and_learned_again(
    home: Path, run: Run, tmp_path: Path, backbone: Path
) -> None:
    run(home, "export", "mixed", tmp_path / "folder").fine()
    card = (tmp_path / "folder" / "README.md").read_text()
    assert "test mAP after training" in card and "sigmoid" in card
    guest = tmp_path / "guest"
    run(guest, "import", tmp_path / "folder", "--backbone", backbone).fine()
    (shown,) = run(guest, "tasks", "--format", "json").fine().json
    assert shown["metric"] == "mAP"
    soundfile.write(tmp_path / "both.wav", sound(("low", "high"), seed=99), RATE)
    answers = [
        run(one, "predict", tmp_path / "both.wav", "--task", "mixed", "--format", "json").fine().json[0]
        for one in (home, guest)
    ]
    assert answers[0]["tags"] == answers[1]["tags"] and answers[0]["labels"] == answers[1]["labels"]
    run(home, "rebuild", "--yes").fine()
    assert [one["metric"] for one in run(home, "tasks", "--format", "json").fine().json] == ["accuracy", "mAP"]
    run(home, "relearn", "mixed", "--to", tmp_path / "again", "--backbone", backbone).fine()
    (again,) = run(tmp_path / "again", "tasks", "--format", "json").fine().json
    assert again["metric"] == "mAP" and again["data_fingerprint"] == shown["data_fingerprint"]


@pytest.mark.slow
def test_a_shared_part_is_trained_on_tasks_of_both_kinds(home: Path, run: Run) -> None:
    words = ("share", "sounds", "--tasks", "tones", "mixed", "--method", "mhr:S=2,h=2,r=2", "--epochs", 1)
    said = run(home, "-q", *words).fine().out
    assert "mAP" in said.partition("mixed ")[2] and "mAP" not in said.partition("mixed ")[0]


def test_a_file_of_unknown_labels_is_refused(home: Path, run: Run, tmp_path: Path, backbone: Path) -> None:
    run(home, "export", "mixed", tmp_path / "folder").fine()
    path = tmp_path / "folder" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'\\"tags\\"', b'\\"rows\\"'))
    run(tmp_path / "guest", "-q", "import", tmp_path / "folder", "--backbone", backbone).refused(
        "rows", "classes or tags"
    )


def test_what_needs_one_label_a_clip_is_refused_first(
    run: Run, mixed: Path, tmp_path: Path, quick: list[object]
) -> None:
    for command in ("compare", "baselines"):
        run(tmp_path / "none", "-q", command, mixed, "--backbone", quick[1]).refused("mixed", "several labels")


@pytest.mark.slow
def test_a_dry_run_counts_clips_and_tags(run: Run, mixed: Path, tmp_path: Path, quick: list[object]) -> None:
    answer = run(tmp_path / "none", "-q", "add-task", mixed, *quick, "--dry-run").fine()
    assert "several labels" in answer.out and "all 3" in answer.out
    with Manager.open(tmp_path / "other", backbone=str(quick[1]), device="cpu") as manager:
        from cl_ast.continual.forecast import forecast
        from cl_ast.continual.planning import Request
        from streams import load

        found = forecast(manager.session, load(mixed), Request())
        assert sum(found.clips.values()) == 60 < sum(sum(one.values()) for one in found.splits.values())


@pytest.mark.slow
def test_a_report_keeps_the_two_apart(home: Path, run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run(home, "report", tmp_path / "page.html").fine()
    page = (tmp_path / "page.html").read_text()
    assert "Tasks whose clips may have several labels" in page and " mAP" in page
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert {row["metric"] for row in rows if row["task"] == "mixed"} >= {"mAP", "average_precision", "lwlrap"}
    assert not {"accuracy", "recall"} & {row["metric"] for row in rows if row["task"] == "mixed"}
    average = [row for row in rows if row["metric"] == "average_accuracy" and row["mode"] == "by_name"]
    tones = [row for row in rows if row["metric"] == "accuracy" and row["mode"] == "by_name"]
    assert {row["value"] for row in average} == {row["value"] for row in tones}


@pytest.mark.slow
def test_a_version_of_classes_may_follow_one_of_tags(home: Path, run: Run, data: Path, quick: list[object]) -> None:
    found = run(
        home, "add-task", data / "noises", "--name", "mixed", "--replace", *quick[2:], "--format", "json"
    ).fine()
    assert found.json["metric"] == "accuracy"
    (note,) = [one for one in found.json["notes"] if "comparable" in one]
    assert "the mAP of version 1" in note and "the accuracy of version 2" in note
    assert "tag_metrics" not in run(home, "stats", "--format", "json").fine().json
    run(home, "rollback", "mixed").fine()
    assert run(home, "stats", "--format", "json").fine().json["tasks"][1]["metric"] == "mAP"


@pytest.fixture
def server(home: Path) -> Iterator[object]:
    with served(home) as found:
        yield found
        assert found.end() == 0


@pytest.mark.slow
def test_the_service_says_tags(server: object, tmp_path: Path) -> None:
    clip = tmp_path / "both.wav"
    soundfile.write(clip, sound(("low", "high"), seed=99), RATE)
    ask = server.ask  # type: ignore[attr-defined]
    (result,) = ask("/v1/classify?task=mixed", clip.read_bytes()).json["results"]
    assert set(result["tags"]) == {"low", "high"}
    (result,) = ask("/v1/classify?task=tones", clip.read_bytes()).json["results"]
    assert "tags" not in result
    scores = {one["label"]: one["score"] for one in ask("/hf/mixed", clip.read_bytes()).json}
    assert scores["low"] > 0.5 and scores["high"] > 0.5  # sigmoids, which do not add up to 1
    body = {"inputs": base64.b64encode(clip.read_bytes()).decode(), "parameters": {"function_to_apply": "softmax"}}
    found = ask("/hf/mixed", json.dumps(body).encode(), Content_Type="application/json").json
    assert sum(one["score"] for one in found) == pytest.approx(1, abs=1e-5)
    tones, mixed = ask("/v1/tasks").json["tasks"]
    assert tones["metric"] == "accuracy" and mixed["metric"] == "mAP"
    shown = ask("/v1/retention").json["shown"]
    assert shown["tasks"][1][0].endswith("mAP")
