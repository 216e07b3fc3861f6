"""`add-task` and `stream`: learning one task after another."""

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.cli.conftest import MakeFolder, Run, Unchanged

MEASURED = ["task", "clips", "accuracy", "auto_accuracy", "routed_right", "declined", "right", "interval", "metric"]
LEARNED = [
    "task",
    "version",
    "method",
    "classes",
    "trainable_parameters",
    "bytes",
    "validation_accuracy",
    "accuracy",
    "epoch",
    "seconds",
    "measured",
    "skipped",
    "hears",
    "notes",
]


def tensors(registry: Path, task: str, run: Run) -> dict[str, np.ndarray]:
    """Return the adapter's tensors as stored; unlike the header of the file, they have no dates."""
    shown = run(registry, "show", task, "--format", "json").fine().json
    stored: dict[str, np.ndarray] = load_file(registry / "adapters" / f"{shown['sha256']}.safetensors")
    return stored


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


@pytest.mark.slow
def test_add_task_answers_in_json_with_progress_on_standard_error(
    stage: MakeFolder, run: Run, data: Path, quick: list[object]
) -> None:
    answer = run(stage("tones"), "add-task", data / "noises", *quick, "--format", "json").fine()
    learned = answer.json
    assert set(LEARNED) <= set(learned)
    assert (learned["task"], learned["version"], learned["method"], learned["classes"]) == ("noises", 1, "linear", 2)
    assert [one["task"] for one in learned["measured"]] == ["tones", "noises"]
    assert all(list(one) == MEASURED for one in learned["measured"])
    assert learned["accuracy"] == learned["measured"][1]["accuracy"]
    assert 0 <= learned["epoch"] <= 2
    for said in ("noises: 2 classes", "training", "epoch 2/2", "loss", "measuring tones"):
        assert said in answer.err
    # What takes a while is announced before it begins, and the time of all of it is said at the end.
    lines = answer.err.splitlines()
    stages = ["rounding and calibrating", "learning to recognise this task's clips", 'setting the limit for "unknown"']
    places = [lines.index(f"{stage} …") for stage in stages]
    assert lines[places[0] - 1].startswith("training 28/28") and places == sorted(places)
    assert all(lines[place + 1].startswith(stage) for place, stage in zip(places[1:], stages[1:], strict=True))
    assert re.fullmatch(r"took (\d\.\d s|\d\d s|\d+ min) in all", lines[-1])


@pytest.mark.slow
def test_from_layer_is_written_into_the_method(stage: MakeFolder, run: Run, data: Path, quick: list[object]) -> None:
    options = ["--method", "lora:r=2", "--from-layer", 1, "--no-eval", "--format", "json"]
    registry = stage("tones")
    run(registry, "-q", "add-task", data / "noises", *quick, "--from-layer", 1).refused("linear", "from=1")
    learned = run(registry, "add-task", data / "noises", *quick, *options).fine()
    assert learned.json["method"] == "lora:qv,r=2,s=8,from=1"
    assert "frozen layers" in learned.err


@pytest.mark.slow
def test_a_head_starts_as_a_probe_unless_a_fresh_one_is_chosen(
    tmp_path: Path, run: Run, data: Path, backbone: Path
) -> None:
    words = ("add-task", data / "tones", "--backbone", backbone, "--epochs", 1, "--lr", 1e-30, "--no-eval")
    probe = run(tmp_path / "probe", *words, "--format", "json").fine()
    fresh = run(tmp_path / "fresh", *words, "--head", "fresh", "--format", "json").fine()
    assert "fitting a first classifier" in probe.err
    assert "fitting a first classifier" not in fresh.err
    assert (probe.json["epoch"], fresh.json["epoch"]) == (0, 1)  # steps that move nothing are no better than the start
    assert "with the linear probe" in run(tmp_path / "told", *words).fine().out
    assert run(tmp_path / "no", *words, "--head", "random").code == 2


@pytest.mark.slow
def test_quiet_says_nothing_but_the_result(stage: MakeFolder, run: Run, data: Path, quick: list[object]) -> None:
    answer = run(stage("tones"), "-q", "add-task", data / "noises", *quick).fine()
    assert answer.err == ""
    assert answer.out.startswith("noises trained in ")
    assert "by name %" in answer.out


@pytest.mark.slow
def test_what_is_left_out_of_the_data_is_said(
    stage: MakeFolder, run: Run, data: Path, quick: list[object], tmp_path: Path
) -> None:
    shutil.copytree(data / "noises", tmp_path / "noises")
    shutil.copytree(data / "tones" / "low", tmp_path / "noises" / "_background_noise_")
    (tmp_path / "noises" / "hiss" / "one.m4a").write_bytes(b"x")
    answer = run(stage("tones"), "add-task", tmp_path / "noises", *quick).fine()
    assert "noises: 2 classes" in answer.err
    assert "noises: left out, because they are no class: _background_noise_ (" in answer.err
    assert (
        "noises: left out, because they are not wav, flac, ogg, opus, mp3, aiff, au, caf or w64: 1 in hiss"
        in answer.err
    )


@pytest.mark.slow
def test_a_new_registry_says_which_backbone_it_is_for(
    tmp_path: Path, run: Run, data: Path, backbone: Path, quick: list[object]
) -> None:
    answer = run(tmp_path / "new", "add-task", data / "tones", *quick, "--no-eval").fine()
    assert f"new registry over the backbone {backbone}" in answer.err
    again = run(tmp_path / "new", "add-task", data / "noises", "--method", "linear", "--epochs", 1)
    assert "new registry" not in again.fine().err
    assert run(tmp_path / "new", "stats", "--format", "json").json["backbone"]["name"] == str(backbone)


def test_without_a_hub_the_default_backbone_is_the_packaged_one(
    tmp_path: Path, run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cl_ast.backbone.pretrained._cached", lambda name: False)
    answer = run(tmp_path / "new", "add-task", data / "tones", "--method", "no-such-method")
    assert "new registry over the backbone ast-mini" in answer.err


@pytest.mark.slow
def test_a_backbone_by_relative_path_is_found_from_everywhere(
    tmp_path: Path, run: Run, data: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(backbone.parent)
    options = ["--backbone", backbone.name, "--epochs", 1, "--method", "linear", "--no-eval"]
    run(tmp_path / "new", "add-task", data / "tones", *options).fine()
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "new", "predict", data / "tones" / "low" / "00.wav").fine()


@pytest.mark.slow
def test_name_and_what_is_kept_of_a_task(stage: MakeFolder, run: Run, data: Path, quick: list[object]) -> None:
    registry = stage("tones")
    options = ["--name", "Größe 1", "--seed", 5, "--few-shot", 3, "--max-seconds", 0.3]
    answer = run(registry, "add-task", data / "noises", *quick, *options).fine()
    assert "6 clips train" in answer.err
    shown = run(registry, "show", "größe 1", "--format", "json").json
    assert shown["name"] == "Größe 1"
    assert shown["labels"] == ["clicks", "hiss"]
    assert shown["seed"] == 5
    assert shown["source"]["few_shot"] == 3
    assert shown["source"]["max_seconds"] == 0.3
    assert "3 training clips per class" in shown["protocol"]


@pytest.mark.slow
def test_metadata_with_folds(stage: MakeFolder, run: Run, clips: MakeFolder, quick: list[object]) -> None:
    folder = clips()
    with (folder / "metadata.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "label", "fold"])
        table.writerows(
            [path.relative_to(folder), path.parent.name, int(path.stem) % 3] for path in folder.rglob("*.wav")
        )
    registry = stage("tones")
    run(registry, "add-task", folder, *quick, "--fold", 1).fine()
    shown = run(registry, "show", "clips", "--format", "json").json
    assert shown["protocol"].startswith("fold 1 tests, fold 0 validates, fold 2 trains")
    run(registry, "-q", "add-task", folder, *quick, "--fold", 9, "--replace").refused("9")


@pytest.mark.slow
def test_no_eval_measures_nothing(stage: MakeFolder, run: Run, data: Path, quick: list[object]) -> None:
    registry = stage("tones")
    learned = run(registry, "add-task", data / "noises", *quick, "--no-eval", "--format", "json").fine().json
    assert learned["measured"] == []
    assert learned["accuracy"] is None
    report = run(registry, "stats", "--format", "json").json
    assert report["matrix"]["oracle"][1] == [None, None]
    assert "noises" in run(registry, "stats").fine().out


@pytest.mark.slow
def test_replace_makes_a_new_version(stage: MakeFolder, run: Run, data: Path, quick: list[object]) -> None:
    registry = stage("noises")
    run(registry, "-q", "add-task", data / "tones", *quick).refused("tones", "--replace")
    answer = run(registry, "add-task", data / "tones", *quick, "--replace", "--seed", 1, "--format", "json")
    assert answer.fine().json["version"] == 2
    assert [v["version"] for v in run(registry, "show", "tones", "--format", "json").json["versions"]] == [1, 2]
    assert len(run(registry, "tasks", "--format", "json").json) == 2


@pytest.mark.slow
@pytest.mark.parametrize("method", ["linear", "bottleneck:r=2", "conformer:r=2,k=3", "lora:q,r=1"])
def test_a_seed_gives_the_same_task_twice(
    stage: MakeFolder, run: Run, data: Path, quick: list[object], method: str
) -> None:
    learned = []
    for name, seed in (("first", 3), ("second", 3), ("third", 4)):
        torch.rand(len(name))  # what happened before in this process must not matter
        registry = stage("tones", name)
        options = ["--method", method, "--seed", seed, "--batch-size", 4, "--few-shot", 4, "--no-eval"]
        run(registry, "add-task", data / "noises", *quick, *options).fine()
        learned.append(tensors(registry, "noises", run))
    first, second, third = learned
    assert same(first, second)
    assert not same(first, third)


@pytest.mark.slow
def test_an_earlier_task_whose_clips_are_gone_does_not_stop_the_next(
    stage: MakeFolder, run: Run, clips: MakeFolder, data: Path, quick: list[object], tmp_path: Path
) -> None:
    registry = stage("tones")
    run(registry, "add-task", clips("gone"), *quick, "--no-eval").fine()
    (tmp_path / "gone").rename(tmp_path / "elsewhere")
    answer = run(registry, "add-task", data / "noises", *quick, "--format", "json").fine()
    assert [one["task"] for one in answer.json["measured"]] == ["tones", "noises"]
    assert str(tmp_path / "gone") in answer.json["skipped"]["gone"]
    assert "gone could not be measured" in answer.err


@pytest.mark.slow
def test_stream_learns_in_order_and_ends_with_the_statistics(
    tmp_path: Path, run: Run, data: Path, quick: list[object]
) -> None:
    tasks = ["chirps", "tones"]
    answer = run(tmp_path / "new", "stream", *tasks, "--data-root", data, *quick, "--format", "json").fine()
    assert [task["name"] for task in answer.json["tasks"]] == tasks
    assert answer.json == run(tmp_path / "new", "stats", "--format", "json").json
    assert "chirps trained in" in answer.err
    assert re.fullmatch(r"took (\d\.\d s|\d\d s|\d+ min) in all", answer.err.splitlines()[-1])


def test_stream_learns_nothing_where_one_of_its_words_is_wrong(
    stage: MakeFolder, run: Run, data: Path, quick: list[object], unchanged: Unchanged
) -> None:
    registry = stage("tones")
    with unchanged(registry):
        run(registry, "-q", "stream", data / "noises", data / "no-such-task", *quick).refused("no-such-task")


@pytest.mark.slow
def test_stream_keeps_what_it_learned_before_a_task_that_fails(
    stage: MakeFolder, run: Run, data: Path, clips: MakeFolder, quick: list[object]
) -> None:
    registry = stage("tones")
    broken = clips("broken")
    next(broken.rglob("*.wav")).write_text("this is a letter, not a sound\n" * 50)
    run(registry, "-q", "stream", data / "noises", broken, *quick).refused("not audio")
    assert [task["name"] for task in run(registry, "tasks", "--format", "json").json] == ["tones", "noises"]
