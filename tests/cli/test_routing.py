"""How clips find their task from the command line: which router, every task that fits, and rebuilt routing."""

import hashlib
from pathlib import Path

import click
import pytest
import torch

import cli
from cl_ast.manager import Manager
from cl_ast.router import KINDS
from cl_ast.tasks.task_file import to_bytes
from tests.cli.conftest import MakeFolder, Run


def tensors(registry: Path, task: str) -> dict[str, torch.Tensor]:
    with Manager.open(registry, device="cpu") as manager:
        return dict(manager.session.task(task).router)


def as_of_an_older_release(registry: Path) -> None:
    """Give every task routing as the first release wrote it, and the registry its background."""
    old = {"prototypes": torch.eye(4, 256), "calibration": torch.linspace(0, 1, 101)}
    with Manager.open(registry, device="cpu") as manager:
        for record in manager.registry.tasks():
            stored = manager.session.task(record.name)
            data = to_bytes(stored.model, manager.backbone, {}, old)
            path = registry / "adapters" / f"{record.version.adapter_sha256}.safetensors"
            path.unlink()
            sha256 = hashlib.sha256(data).hexdigest()
            (path.parent / f"{sha256}.safetensors").write_bytes(data)
            _repoint(registry, record.version.adapter_sha256, sha256, len(data))
        manager.registry.replace_background(b"as the first release wrote it")


def _repoint(registry: Path, was: str, now: str, size: int) -> None:
    import sqlite3

    with sqlite3.connect(registry / "registry.db") as database:
        database.execute(
            "update versions set adapter_sha256 = ?, adapter_bytes = ? where adapter_sha256 = ?", (now, size, was)
        )


@pytest.fixture
def old(registry: Path) -> Path:
    as_of_an_older_release(registry)
    return registry


@pytest.fixture
def clip(data: Path) -> Path:
    return data / "chirps" / "up" / "00.wav"


@pytest.mark.slow
def test_older_routing_answers_by_name_and_says_what_to_do(
    old: Path, run: Run, clip: Path, data: Path, quick: list[object]
) -> None:
    run(old, "predict", clip, "--task", "chirps", "--format", "json").fine()
    run(old, "-q", "predict", clip).refused("routing of tones, noises, chirps", "another release", "`cl-ast route`")
    run(old, "-q", "evaluate").refused("`cl-ast route`")
    before = run(old, "tasks", "--format", "json").json
    run(old, "-q", "add-task", data / "tones", "--name", "more", *quick).refused("`cl-ast route`")
    assert run(old, "tasks", "--format", "json").json == before


@pytest.mark.slow
def test_routing_is_learned_again_with_the_same_adapter(
    old: Path, run: Run, clip: Path, registry: Path, data: Path
) -> None:
    answers = [run(old, "predict", clip, "--task", name, "--format", "json").json for name in ("tones", "chirps")]
    assert "3 tasks" in run(old, "-q", "route").fine().out
    again = [run(old, "predict", clip, "--task", name, "--format", "json").json for name in ("tones", "chirps")]
    assert again == answers
    (routed,) = run(old, "predict", clip, "--format", "json").fine().json
    assert routed["task"] == "chirps" and len(routed["tasks"]) == 3
    assert [row["version"] for row in run(old, "tasks", "--format", "json").json] == [2, 2, 2]
    run(old, "verify").fine()
    assert "1 task\n" in run(old, "-q", "route", "tones").fine().out


@pytest.mark.slow
def test_a_task_whose_clips_are_gone_answers_by_its_name_only(
    stage: MakeFolder, run: Run, clips: MakeFolder, quick: list[object], clip: Path
) -> None:
    home = stage("tones")
    folder = clips("gone")
    run(home, "add-task", folder, *quick).fine()
    as_of_an_older_release(home)
    folder.rename(folder.with_name("elsewhere"))
    answer = run(home, "-q", "route")
    assert answer.code == 1
    assert "gone answers by name only" in answer.err
    (routed,) = run(home, "predict", clip, "--format", "json").fine().json
    assert [one["task"] for one in routed["tasks"]] == ["tones"]
    run(home, "predict", clip, "--task", "gone").fine()


@pytest.mark.slow
def test_a_registry_keeps_its_router(tmp_path: Path, run: Run, data: Path, quick: list[object], clip: Path) -> None:
    home = tmp_path / "home"
    run(home, "add-task", data / "tones", *quick, "--router", "prototypes").fine()
    assert "prototypes" in tensors(home, "tones")
    run(home, "-q", "add-task", data / "chirps", *quick, "--router", "ridge").refused("has the router prototypes")
    run(home, "add-task", data / "chirps", *quick).fine()
    assert "prototypes" in tensors(home, "chirps")
    (before,) = run(home, "predict", clip, "--format", "json").fine().json
    assert before["task"] == "chirps"
    (home / "registry.db").unlink()
    run(home, "rebuild").fine()
    assert run(home, "predict", clip, "--format", "json").fine().json == [before]


def test_every_task_that_a_clip_is_known_to_answers(cl: Run, data: Path, clip: Path) -> None:
    answers = cl("predict", clip, data / "noises" / "hiss" / "01.wav", "--all", "--format", "json").fine().json
    for path in {answer["path"] for answer in answers}:
        of_clip = [answer for answer in answers if answer["path"] == path]
        assert len({answer["task"] for answer in of_clip}) == len(of_clip) >= 1
        scores = [answer["task_score"] for answer in of_clip]
        assert scores == sorted(scores, reverse=True)
        assert of_clip[0]["tasks"][0]["task"] in [answer["task"] for answer in of_clip]
    assert "chirps" in [answer["task"] for answer in answers if answer["known"]]


def test_every_router_can_be_chosen() -> None:
    """The command line lists them itself, since it must not import torch."""
    option = next(one for one in cli.main.commands["add-task"].params if one.name == "router")
    assert isinstance(option.type, click.Choice)
    assert list(option.type.choices) == list(KINDS)


def test_all_is_for_the_router(cl: Run, clip: Path) -> None:
    answer = cl("predict", clip, "--all", "--task", "tones")
    assert answer.code == 2
    assert "leave out --task" in answer.err


def test_a_stranger_to_every_task_is_answered_once(cl: Run, tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    soundfile.write(tmp_path / "silence.wav", np.zeros(8000), 16_000)
    (answer,) = cl("predict", tmp_path / "silence.wav", "--all", "--format", "json").fine().json
    assert answer["known"] is False


@pytest.mark.slow
def test_evaluate_records_exactly_what_predict_decides(registry: Path, run: Run, data: Path) -> None:
    """One decision for both: every test clip of every task, through predict, gives the accuracy that is recorded."""
    import streams

    rows = {row["task"]: row for row in run(registry, "evaluate", "--format", "json").fine().json}
    for name, row in rows.items():
        test = streams.load(data / name).test
        answers = run(registry, "predict", *(clip.path for clip in test), "--format", "json").fine().json
        right = [
            answer["task"] == name and answer["labels"][0]["label"] == clip.label
            for answer, clip in zip(answers, test, strict=True)
        ]
        assert row["auto_accuracy"] == sum(right) / len(test)
        assert row["routed_right"] == sum(answer["task"] == name for answer in answers) / len(test)
        assert row["declined"] == sum(not answer["known"] for answer in answers) / len(test)
