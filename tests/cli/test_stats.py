"""`stats` and `evaluate`: what was measured, key for key."""

import csv
import io
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from registry import Registry
from tests.cli.conftest import MakeFolder, Run

TASKS = ["tones", "noises", "chirps"]
METRICS = ["average_accuracy", "forgetting", "backward_transfer", "forward_transfer"]
TASK = [
    "name",
    "method",
    "version",
    "classes",
    "trainable_parameters",
    "bytes",
    "learned_accuracy",
    "accuracy",
    "auto_accuracy",
    "seconds",
    "test_clips",
    "metric",
]
MEASURED = ["task", "clips", "accuracy", "auto_accuracy", "routed_right", "declined", "right", "interval", "metric"]


@pytest.fixture
def report(cl: Run) -> dict[str, Any]:
    found: dict[str, Any] = cl("stats", "--format", "json").fine().json
    return found


def test_every_key_of_the_contract(report: dict[str, Any]) -> None:
    assert list(report) == ["backbone", "tasks", "matrix", "metrics", "routing", "storage"]
    assert list(report["backbone"]) == ["name", "fingerprint", "parameters", "bytes"]
    assert all(list(task) == TASK for task in report["tasks"])
    assert list(report["matrix"]) == ["oracle", "auto"]
    assert list(report["metrics"]) == ["oracle", "auto"]
    assert all(list(metrics) == METRICS for metrics in report["metrics"].values())
    assert list(report["routing"]) == ["task_accuracy", "confusion"]
    assert list(report["storage"]) == ["adapter_bytes", "full_copies_bytes", "ratio", "database_bytes"]


def test_an_empty_registry_has_the_same_keys(tmp_path: Path, run: Run, report: dict[str, Any]) -> None:
    Registry.open(tmp_path / "new").close()
    empty = run(tmp_path / "new", "stats", "--format", "json").fine().json
    assert list(empty) == list(report)
    assert empty["tasks"] == []
    assert empty["backbone"] is None
    assert list(empty["metrics"]["auto"]) == METRICS


def test_what_is_lost_is_said_and_the_rest_is_shown(cl: Run, registry: Path) -> None:
    for path in registry.glob("adapters/*.safetensors"):
        path.unlink()
    out = cl("stats").fine().out
    assert "every adapter file is missing, `cl-ast verify` names them" in out
    assert "average accuracy" in out
    with closing(sqlite3.connect(registry / "registry.db")) as connection, connection:
        connection.execute("DELETE FROM backbone")
    out = cl("stats").fine().out
    assert "backbone: not recorded" in out
    assert "average accuracy" in out


def test_tasks_and_matrix(report: dict[str, Any]) -> None:
    assert [task["name"] for task in report["tasks"]] == TASKS
    for mode, key in (("oracle", "accuracy"), ("auto", "auto_accuracy")):
        matrix = report["matrix"][mode]
        assert [[value is not None for value in row] for row in matrix] == [
            [True, False, False],
            [True, True, False],
            [True, True, True],
        ]
        assert matrix[-1] == [task[key] for task in report["tasks"]]
    assert all(task["seconds"] > 0 for task in report["tasks"])


def test_nothing_is_forgotten_by_name(report: dict[str, Any]) -> None:
    matrix = report["matrix"]["oracle"]
    for column, task in enumerate(report["tasks"]):
        assert {row[column] for row in matrix[column:]} == {task["learned_accuracy"]}
    metrics = report["metrics"]["oracle"]
    assert metrics["average_accuracy"] == pytest.approx(sum(matrix[-1]) / 3)
    assert metrics["forgetting"] == metrics["backward_transfer"] == 0
    assert metrics["forward_transfer"] is None


def test_routing_counts_every_test_clip(report: dict[str, Any], cl: Run) -> None:
    clips = {row["task"]: row["clips"] for row in cl("evaluate", "--format", "json").fine().json}
    confusion = report["routing"]["confusion"]
    assert [sum(row) for row in confusion] == [clips[task] for task in TASKS]
    right = sum(confusion[i][i] for i in range(3))
    assert report["routing"]["task_accuracy"] == right / sum(clips.values())


def test_storage_is_what_is_on_the_disk(report: dict[str, Any], registry: Path, backbone: Path) -> None:
    files = [path.stat().st_size for path in (registry / "adapters").glob("*.safetensors")]
    storage = report["storage"]
    assert storage["adapter_bytes"] == sum(files) == sum(task["bytes"] for task in report["tasks"])
    assert storage["full_copies_bytes"] == 3 * report["backbone"]["bytes"]
    assert storage["ratio"] == pytest.approx(storage["full_copies_bytes"] / storage["adapter_bytes"])
    assert storage["database_bytes"] >= (registry / "registry.db").stat().st_size
    # The copy of a backbone is its weights; its file adds a header.
    assert 0 < report["backbone"]["bytes"] <= (backbone / "model.safetensors").stat().st_size


def test_csv_is_a_task_a_line(cl: Run, report: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(cl("stats", "--format", "csv").fine().out)))
    assert [row["name"] for row in rows] == TASKS
    assert list(rows[0]) == TASK
    assert [float(row["accuracy"]) for row in rows] == [task["accuracy"] for task in report["tasks"]]


def test_table_tells_the_whole_story(cl: Run, backbone: Path) -> None:
    out = cl("stats").fine().out
    said = (
        "frozen",
        "with the task named",
        "chosen by the router",
        "average accuracy",
        "forgetting",
        "routing:",
        "storage:",
    )
    for word in (str(backbone), *TASKS, *said):
        assert word in out


@pytest.mark.slow
def test_plot(cl: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    cl("stats", "--plot", tmp_path / "retention.png").fine()
    assert (tmp_path / "retention.png").read_bytes().startswith(b"\x89PNG")
    cl("stats", "--plot", tmp_path / "no-such-folder" / "retention.png").refused("no-such-folder")


@pytest.mark.parametrize("mode", ["auto", "oracle"])
def test_evaluate_finds_what_learning_found(cl: Run, report: dict[str, Any], mode: str) -> None:
    rows = cl("evaluate", "--task", mode, "--format", "json").fine().json
    assert all(list(row) == MEASURED for row in rows)
    assert [row["accuracy"] for row in rows] == report["matrix"]["oracle"][-1]
    if mode == "auto":
        assert [row["auto_accuracy"] for row in rows] == report["matrix"]["auto"][-1]
    else:
        assert [row["auto_accuracy"] for row in rows] == [None] * 3
    assert cl("stats", "--format", "json").json["matrix"] == report["matrix"]


@pytest.mark.slow
def test_evaluate_some_tasks(cl: Run) -> None:
    rows = cl("evaluate", "chirps", "TONES", "--format", "json").fine().json
    assert [row["task"] for row in rows] == ["chirps", "tones"]
    assert "noises" not in cl("evaluate", "tones").fine().out
    cl("evaluate", "tones", "no-such-task").refused("no-such-task")


@pytest.mark.slow
def test_evaluate_is_recorded(stage: MakeFolder, run: Run, data: Path, quick: list[object]) -> None:
    registry = stage("tones")
    run(registry, "add-task", data / "noises", *quick, "--no-eval").fine()
    assert run(registry, "stats", "--format", "json").json["tasks"][1]["accuracy"] is None
    (row,) = run(registry, "evaluate", "noises", "--format", "json").fine().json
    assert run(registry, "stats", "--format", "json").json["tasks"][1]["accuracy"] == row["accuracy"]


@pytest.mark.slow
def test_evaluate_measures_what_it_can(stage: MakeFolder, run: Run, clips: MakeFolder, quick: list[object]) -> None:
    registry = stage("noises")
    folder = clips("gone")
    run(registry, "add-task", folder, *quick, "--no-eval").fine()
    shutil.rmtree(folder)
    answer = run(registry, "-q", "evaluate", "--format", "json").refused("gone could not be measured", str(folder))
    assert [row["task"] for row in answer.json] == ["tones", "noises"]


@pytest.mark.slow
def test_routing_is_not_shown_where_it_is_not_measured_any_more(
    registry: Path, run: Run, report: dict[str, Any]
) -> None:
    """Without `noises`, clips may be routed elsewhere than was measured with it; by name nothing changes."""
    run(registry, "remove", "noises").fine()
    found = run(registry, "stats", "--format", "json").fine().json
    assert list(found) == list(report) and all(list(task) == TASK for task in found["tasks"])
    assert [task["accuracy"] for task in found["tasks"]] == [report["tasks"][i]["accuracy"] for i in (0, 2)]
    assert [task["auto_accuracy"] for task in found["tasks"]] == [None, None]
    assert found["matrix"]["auto"][-1] == [None, None] and found["matrix"]["oracle"][-1] != [None, None]
    assert found["metrics"]["auto"]["average_accuracy"] is None
    reason = "tones, chirps: not measured since cl-ast removed task noises"
    assert found["routing"] == {"task_accuracy": None, "confusion": [[0, 0], [0, 0]], "reason": reason}
    out = run(registry, "stats").fine().out
    assert f"routing of {reason}; `cl-ast evaluate` measures it again" in out and "sent to the right task" not in out
    rows = run(registry, "evaluate", "--format", "json").fine().json
    again = run(registry, "stats", "--format", "json").fine().json
    assert list(again["routing"]) == ["task_accuracy", "confusion"]
    assert again["matrix"]["auto"][-1] == [row["auto_accuracy"] for row in rows]
    run(registry, "-q", "undo").fine()  # the measurement with `noises` holds again, and is what is shown
    assert run(registry, "stats", "--format", "json").json["routing"] == report["routing"]


def test_what_was_measured_before_the_last_task_came_holds_again_without_it(
    registry: Path, run: Run, stage: MakeFolder
) -> None:
    run(registry, "remove", "chirps").fine()
    found = run(registry, "stats", "--format", "json").fine().json
    before = run(stage("noises"), "stats", "--format", "json").fine().json
    assert [found[key] for key in ("matrix", "metrics", "routing")] == [
        before[key] for key in ("matrix", "metrics", "routing")
    ]


@pytest.mark.slow
def test_a_replaced_task_leaves_no_routing_that_was_measured_with_its_former_version(
    registry: Path, run: Run, data: Path, quick: list[object], report: dict[str, Any]
) -> None:
    run(registry, "add-task", data / "noises", *quick, "--replace", "--no-eval").fine()
    routing = run(registry, "stats", "--format", "json").fine().json["routing"]
    assert routing["task_accuracy"] is None
    assert routing["reason"] == "tones, chirps: not measured since version 2 of noises"
    (row,) = run(registry, "evaluate", "tones", "--format", "json").fine().json
    found = run(registry, "stats", "--format", "json").fine().json
    assert found["routing"]["task_accuracy"] == row["routed_right"]
    assert found["routing"]["reason"].startswith("chirps: not measured since")
    run(registry, "rollback", "noises").fine()
    assert run(registry, "stats", "--format", "json").json["routing"] == report["routing"]
    run(registry, "add-task", data / "tones", "--name", "more", *quick, "--no-eval").fine()
    reason = run(registry, "stats", "--format", "json").fine().json["routing"]["reason"]
    assert reason == "tones, noises, chirps: not measured since task more was added"
