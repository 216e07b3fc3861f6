"""`relearn`: the tasks of one registry trained again in another, from what was recorded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def _tasks(run: Run, home: Path) -> dict[str, Any]:
    return {task["name"]: task for task in run(home, "tasks", "--format", "json").fine().json}


@pytest.mark.slow
def test_every_task_is_trained_again_over_another_backbone(
    registry: Path, run: Run, other_backbone: Path, tmp_path: Path, unchanged: Callable[[Path], Any]
) -> None:
    with unchanged(registry):
        words = ["relearn", "--to", tmp_path / "better", "--backbone", other_backbone, "--format", "json"]
        report = run(registry, *words).fine().json
    assert report["backbone"]["name"] == str(other_backbone)
    assert [task["name"] for task in report["tasks"]] == ["tones", "noises", "chirps"]
    assert all(task["auto_accuracy"] is not None for task in report["tasks"])
    before, after = _tasks(run, registry), _tasks(run, tmp_path / "better")
    for name, task in after.items():
        was = before[name]["training"]
        assert task["method"] == before[name]["method"]
        assert task["data_fingerprint"] == before[name]["data_fingerprint"]
        for option in ("epochs", "batch_size", "learning_rate", "seed", "pooling", "head"):
            assert task["training"][option] == was[option]
    run(tmp_path / "better", "verify").fine()


@pytest.mark.slow
def test_the_same_backbone_gives_the_same_weights(registry: Path, run: Run, backbone: Path, tmp_path: Path) -> None:
    from cl_ast import Manager

    run(registry, "relearn", "tones", "--to", tmp_path / "again", "--backbone", backbone).fine()
    with Manager.open(registry, device="cpu") as old, Manager.open(tmp_path / "again", device="cpu") as new:
        for name, tensor in old.model("tones").state().items():
            assert (new.model("tones").state()[name] == tensor).all(), name


@pytest.mark.slow
def test_another_method_takes_its_own_learning_rate(registry: Path, run: Run, backbone: Path, tmp_path: Path) -> None:
    words = ["relearn", "tones", "--to", tmp_path / "other", "--backbone", backbone, "--method", "lora:q,r=2"]
    run(registry, *words).fine()
    task = _tasks(run, tmp_path / "other")["tones"]
    assert task["method"].startswith("lora:q,r=2")
    assert task["training"]["learning_rate"] == 5e-3  # linear's was 1e-3
    assert task["training"]["epochs"] == 2


@pytest.mark.slow
def test_a_stopped_run_goes_on(registry: Path, run: Run, backbone: Path, tmp_path: Path) -> None:
    words = ["relearn", "--to", tmp_path / "again", "--backbone", backbone]
    run(registry, "relearn", "tones", "--to", tmp_path / "again", "--backbone", backbone).fine()
    first = _tasks(run, tmp_path / "again")["tones"]
    answer = run(registry, *words).fine()
    assert "tones was not trained again: the other registry has it already" in answer.err
    after = _tasks(run, tmp_path / "again")
    assert list(after) == ["tones", "noises", "chirps"]
    assert after["tones"] == {**first, "nearest": after["tones"]["nearest"]}


@pytest.mark.slow
def test_a_task_keeps_the_name_that_it_has_now(registry: Path, run: Run, backbone: Path, tmp_path: Path) -> None:
    run(registry, "rename", "tones", "whistles").fine()
    for _ in range(2):
        run(registry, "relearn", "whistles", "--to", tmp_path / "again", "--backbone", backbone).fine()
    assert list(_tasks(run, tmp_path / "again")) == ["whistles"]


@pytest.mark.slow
def test_a_task_whose_clips_are_gone_is_named_and_the_others_are_trained(
    stage: Callable[..., Path],
    run: Run,
    clips: Callable[..., Path],
    quick: list[object],
    backbone: Path,
    tmp_path: Path,
) -> None:
    home = stage("tones")
    folder = clips("gone")
    run(home, "add-task", folder, *quick).fine()
    folder.rename(folder.with_name("elsewhere"))
    answer = run(home, "relearn", "--to", tmp_path / "again", "--backbone", backbone)
    assert answer.code == 1
    assert "gone was not trained again" in answer.err
    assert list(_tasks(run, tmp_path / "again")) == ["tones"]


def test_what_makes_no_sense_is_refused(registry: Path, run: Run, tmp_path: Path) -> None:
    same = run(registry, "relearn", "--to", registry)
    assert same.code == 2 and "another registry" in same.err
    run(registry, "-q", "relearn", "nothing", "--to", tmp_path / "again").refused('no task "nothing"')
    assert not (tmp_path / "again" / "registry.db").exists() or _tasks(run, tmp_path / "again") == {}


def test_a_registry_of_another_backbone_names_the_way_out(
    registry: Path, run: Run, other_backbone: Path, data: Path
) -> None:
    words = ["add-task", data / "tones", "--name", "more", "--backbone", other_backbone]
    run(registry, "-q", *words).refused("made with the backbone", "cl-ast relearn --to")
