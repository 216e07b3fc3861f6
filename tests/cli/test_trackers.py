"""--log writes the learning curve and the retention matrix to an experiment tracker, which is read back here."""

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the tables of mlflow, which take it a second to make."""
    mlflow = pytest.importorskip("mlflow")
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def tracked(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of such a database, which mlflow writes to."""
    place = f"sqlite:///{shutil.copy(tables, tmp_path)}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place)
    return place


def learn(run: Run, data: Path, backbone: Path, place: Path, tracker: str) -> dict[str, Any]:
    """Learn two tasks, each logged; return the statistics."""
    options = ["--backbone", backbone, "--method", "linear", "--epochs", 2, "--log", tracker]
    run(place / "home", "stream", data / "tones", data / "chirps", *options).fine()
    report: dict[str, Any] = run(place / "home", "stats", "--format", "json").fine().json
    return report


def test_tensorboard_has_a_run_a_task(run: Run, data: Path, backbone: Path, tmp_path: Path) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    report = learn(run, data, backbone, tmp_path, "tensorboard")
    for number, name in enumerate(("tones", "chirps")):
        found = reading.EventAccumulator(str(tmp_path / "runs" / f"{name}-1"))
        found.Reload()
        curve = run(tmp_path / "home", "show", name, "--format", "json").fine().json["versions"][0]["training"]["curve"]
        logged = [(one.step, one.value) for one in found.Scalars("training/validation_loss")]
        assert logged == [(one["epoch"], pytest.approx(one["validation_loss"])) for one in curve]
        for mode, words in (("oracle", "by name"), ("auto", "routed")):
            row = [found.Scalars(f"{words}/{other}")[0] for other in ("tones", "chirps")[: number + 1]]
            assert {one.step for one in row} == {number + 1}
            assert [one.value for one in row] == pytest.approx(report["matrix"][mode][number][: number + 1])
    last = found.Scalars("average_accuracy/routed")[0].value
    assert last == pytest.approx(report["metrics"]["auto"]["average_accuracy"])


def test_mlflow_has_them_too(run: Run, data: Path, backbone: Path, tmp_path: Path, tracked: str) -> None:
    import mlflow

    report = learn(run, data, backbone, tmp_path, "mlflow")
    client = mlflow.MlflowClient(tracked)
    runs = client.search_runs([client.get_experiment_by_name("cl-ast").experiment_id])
    found = {one.info.run_name: one.data for one in runs}
    assert found.keys() == {"tones-1", "chirps-1"} and found["chirps-1"].params["method"] == "linear"
    assert found["chirps-1"].metrics["by name/tones"] == pytest.approx(report["matrix"]["oracle"][1][0])


def test_a_run_that_fails_costs_the_next_task_no_run(
    run: Run, data: Path, backbone: Path, tmp_path: Path, tracked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    write = mlflow.log_params

    def fail_once(values: dict[str, Any]) -> None:
        monkeypatch.setattr(mlflow, "log_params", write)
        raise OSError("the server is gone")

    monkeypatch.setattr(mlflow, "log_params", fail_once)
    learn(run, data, backbone, tmp_path, "mlflow")
    client = mlflow.MlflowClient(tracked)
    runs = client.search_runs([client.get_experiment_by_name("cl-ast").experiment_id])
    assert {one.info.run_name for one in runs if one.data.metrics} == {"chirps-1"}


def test_a_tracker_that_fails_costs_no_task(run: Run, data: Path, backbone: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "runs").write_text("a file where the folder would be")
    report = learn(run, data, backbone, tmp_path, "tensorboard")
    assert [task["name"] for task in report["tasks"]] == ["tones", "chirps"]


@pytest.mark.skipif(find_spec("wandb") is not None, reason="wandb is installed")
def test_one_that_is_not_installed_is_said_before_anything_is_learned(
    run: Run, data: Path, backbone: Path, tmp_path: Path
) -> None:
    ran = run(tmp_path / "home", "-q", "add-task", data / "tones", "--backbone", backbone, "--log", "wandb")
    ran.refused("pip install 'cl-ast[wandb]'")
    assert not (tmp_path / "home").exists()
