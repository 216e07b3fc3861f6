"""`tasks`, `show`, `rename`, `remove`, `rollback`, `verify`, `gc`, `rebuild`, `undo`."""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from registry import Accuracy, Registry, header
from tests.cli.conftest import MakeFolder, Run, Unchanged

TASKS = ["tones", "noises", "chirps"]

Names = Callable[[], list[str]]
Answers = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def names(cl: Run) -> Names:
    return lambda: [task["name"] for task in cl("tasks", "--format", "json").fine().json]


@pytest.fixture
def answers(cl: Run, data: Path) -> Answers:
    """Return what a task answers on a few clips, by name."""

    def predict(task: str) -> list[tuple[Any, ...]]:
        found = cl("predict", data / "tones" / "low", "--task", task, "--format", "json").fine().json
        return [(answer["task"], answer["task_score"], answer["labels"]) for answer in found]

    return predict


@pytest.fixture
def relearned(cl: Run, data: Path, quick: list[object]) -> None:
    """The first task has a second version."""
    cl("add-task", data / "tones", *quick, "--replace", "--seed", 9, "--no-eval").fine()


def test_tasks_in_the_order_of_learning(cl: Run, names: Names) -> None:
    assert names() == TASKS
    (task, *_) = cl("tasks", "--format", "json").json
    assert {"name", "labels", "version", "method", "classes", "bytes", "learned_accuracy", "created"} <= set(task)
    out = cl("tasks").fine().out
    assert out.index("tones") < out.index("noises") < out.index("chirps")


def test_tasks_says_what_the_router_takes_for_what(cl: Run, registry: Path) -> None:
    with Registry.open(registry) as opened:
        went = {"tones": 194, "noises": 5, "chirps": 1}
        opened.record([Accuracy("tones", "auto", 0.9, 200, went), Accuracy("noises", "auto", 1.0, 9, {"noises": 9})])
    tones, noises, _ = cl("tasks", "--format", "json").fine().json
    assert tones["nearest"] == [{"task": "noises", "share": 0.025}, {"task": "chirps", "share": 0.005}]
    assert noises["nearest"] == []
    *_, title, line = cl("tasks").fine().out.splitlines()
    assert title.startswith("clips that the router sent to other tasks")
    assert line.split() == ["tones", "→", "noises", "2", "%"]  # below a hundredth is not worth a word
    with Registry.open(registry) as opened:
        opened.record([Accuracy("tones", "auto", 1.0, 200, {"tones": 200})])
    assert "→" not in cl("tasks").fine().out


def test_show(cl: Run, data: Path) -> None:
    shown = cl("show", "noises", "--format", "json").fine().json
    assert shown["labels"] == ["clicks", "hiss"]
    assert shown["source"]["data"] == str((data / "noises").resolve())
    assert [version["version"] for version in shown["versions"]] == [1]
    out = cl("show", "noises").fine().out
    for word in ("clicks, hiss", "bottleneck", "balanced by class", "torch", shown["sha256"][:12]):
        assert word in out


def test_rename(cl: Run, names: Names, answers: Answers) -> None:
    before = [labels for _, _, labels in answers("tones")]
    assert "notes" in cl("rename", "tones", "notes").fine().out
    assert names() == ["notes", "noises", "chirps"]
    assert [labels for _, _, labels in answers("notes")] == before
    cl("show", "tones").refused("tones")
    cl("verify").fine()


@pytest.mark.parametrize("taken", ["noises", "NOISES"])
def test_rename_to_a_name_that_is_taken(
    cl: Run, names: Names, registry: Path, unchanged: Unchanged, taken: str
) -> None:
    with unchanged(registry):
        cl("rename", "tones", taken).refused("noises")


def test_remove(cl: Run, names: Names, registry: Path, answers: Answers) -> None:
    before = answers("noises")
    assert "tones" in cl("remove", "tones").fine().out
    assert names() == ["noises", "chirps"]
    assert len(list((registry / "adapters").glob("*.safetensors"))) == 2
    assert answers("noises") == before
    report = cl("stats", "--format", "json").fine().json
    assert [len(row) for row in report["matrix"]["auto"]] == [2, 2]
    assert [len(row) for row in report["routing"]["confusion"]] == [2, 2]


@pytest.mark.slow
def test_the_last_task_can_go_too(stage: MakeFolder, run: Run, data: Path, quick: list[object]) -> None:
    registry = stage("tones")
    run(registry, "remove", "tones").fine()
    assert run(registry, "tasks", "--format", "json").json == []
    run(registry, "add-task", data / "noises", *quick, "--no-eval").fine()


@pytest.mark.slow
def test_rollback(cl: Run, answers: Answers, data: Path, quick: list[object], registry: Path) -> None:
    first = answers("tones")
    cl("add-task", data / "tones", *quick, "--replace", "--seed", 9, "--no-eval").fine()
    second = answers("tones")
    assert second != first
    assert "version 1" in cl("rollback", "tones").fine().out
    assert answers("tones") == first
    cl("rollback", "tones", 2).fine()
    assert answers("tones") == second
    cl("rollback", "tones", 3).refused("no version 3")
    cl("rollback", "noises").refused("noises")


def test_verify_names_what_is_damaged(cl: Run, registry: Path) -> None:
    assert "3 tasks" in cl("verify").fine().out
    broken = cl("show", "noises", "--format", "json").json["sha256"]
    path = registry / "adapters" / f"{broken}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    assert cl("verify").refused("noises", str(path)).out == ""


def test_a_damaged_task_does_not_answer_and_the_others_do(cl: Run, registry: Path, data: Path) -> None:
    broken = cl("show", "noises", "--format", "json").json["sha256"]
    (registry / "adapters" / f"{broken}.safetensors").write_bytes(b"rubbish")
    clip = data / "tones" / "low" / "00.wav"
    cl("predict", clip, "--task", "noises").refused("noises")
    cl("predict", clip, "--task", "tones").fine()


@pytest.mark.slow
def test_gc_drops_what_nothing_needs(cl: Run, registry: Path, relearned: None, answers: Answers) -> None:
    stray = registry / "adapters" / f"{'0' * 64}.safetensors"
    stray.write_bytes(b"left over")
    before = answers("tones")
    files = set((registry / "adapters").iterdir())
    told = cl("gc", "--dry-run").fine().out
    assert stray.name in told
    assert "would be moved to the trash" in told
    assert set((registry / "adapters").iterdir()) == files
    assert "2 files" in cl("gc").fine().out
    assert len(list((registry / "adapters").glob("*.safetensors"))) == 3
    assert not stray.exists()
    assert answers("tones") == before
    assert "0 files" in cl("gc").fine().out


@pytest.mark.slow
def test_rebuild_from_the_files_alone(cl: Run, registry: Path, names: Names, answers: Answers) -> None:
    before = {task: answers(task) for task in (*TASKS, "auto")}
    for path in registry.glob("registry.db*"):
        path.unlink()
    cl("tasks").refused("cl-ast rebuild")
    assert "3 tasks" in cl("rebuild").fine().out
    assert names() == TASKS
    assert {task: answers(task) for task in (*TASKS, "auto")} == before
    cl("verify").fine()


def test_rebuild_of_nothing(tmp_path: Path, run: Run) -> None:
    run(tmp_path / "new", "rebuild").refused(str(tmp_path / "new"))


@pytest.mark.parametrize("words", [["show"], ["remove"], ["rollback"], ["rename", "other"]])
def test_a_task_that_is_not_there(registry: Path, cl: Run, unchanged: Unchanged, words: list[str]) -> None:
    command, *rest = words
    with unchanged(registry):
        cl(command, "tonse", *rest).refused("tonse", 'did you mean "tones"?')


def test_a_row_that_cannot_be_read_is_said(cl: Run, registry: Path) -> None:
    with closing(sqlite3.connect(registry / "registry.db")) as connection, connection:
        connection.execute("UPDATE versions SET labels = 'nonsense' WHERE id = 2")
    answer = cl("tasks", "--format", "json").fine()
    assert [task["name"] for task in answer.json] == ["tones", "chirps"]
    assert answer.err == "cl-ast: 1 more cannot be read; `cl-ast verify` says why\n"
    verified = cl("verify")
    assert verified.code == 1 and "'noises'" in verified.err and verified.out == ""


@pytest.mark.slow
def test_undo_takes_the_last_change_back(cl: Run, names: Names, registry: Path, answers: Answers) -> None:
    before = answers("tones")
    cl("remove", "tones").fine()
    told = cl("undo", "--yes").fine().out
    assert told.startswith("took back: removed task tones (")
    assert "task tones is here with 1 version" in told
    assert "a second `cl-ast undo` takes this back" in told
    assert answers("tones") == before
    assert "took back: the undo of: removed task tones" in cl("undo", "--yes").fine().out
    assert names() == ["noises", "chirps"]
    assert "1 file, " in cl("gc", "--empty-trash").fine().out.partition(";")[2]
    cl("undo", "--yes").refused("not in the trash any more")
    assert names() == ["noises", "chirps"]


def test_undo_without_a_change(cl: Run, registry: Path) -> None:
    cl("rebuild").fine()
    cl("undo", "--yes").refused("there is no change to take back")


def test_gc_leaves_what_the_database_does_not_know_until_it_is_named(cl: Run, registry: Path) -> None:
    with Registry.open(registry) as opened:
        data = opened.read_adapter(opened.task("tones").version)
    changed = header.described(data, {"name": "owls", "task_id": 99})
    path = registry / "adapters" / f"{hashlib.sha256(changed).hexdigest()}.safetensors"
    path.write_bytes(changed)
    cl("verify").refused("task owls, version 1", "cl-ast rebuild", "cl-ast gc")
    for words in (["--dry-run"], []):
        done = cl("gc", *words).fine()
        assert "0 files" in done.out
        assert "owls" in done.err
    assert path.exists()
    cl("gc", "tones").refused("the database does not know is called tones")
    assert path.name in cl("gc", "owls").fine().out
    assert not path.exists()
    cl("verify").fine()
