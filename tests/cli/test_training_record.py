"""A version remembers how it was trained: in the registry, in its file, and in what is shown and exported."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cl_ast import Manager

Run = Callable[..., Any]
OPTIONS = ["--method", "linear", "--epochs", 3, "--batch-size", 5, "--lr", 0.002, "--weight-decay", 0.05, "--seed", 4]


@pytest.fixture(scope="module")
def learned(run: Run, data: Path, backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("learned") / "home"
    run(home, "add-task", data / "tones", "--backbone", backbone, *OPTIONS).fine()
    return home


@pytest.fixture
def home(learned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(learned, tmp_path / "home"))


def _training(run: Run, home: Path) -> dict[str, Any]:
    found: dict[str, Any] = run(home, "show", "tones", "--format", "json").fine().json["versions"][-1]["training"]
    return found


@pytest.mark.slow
def test_everything_that_was_decided_is_there(run: Run, home: Path) -> None:
    found = _training(run, home)
    expected = {
        "epochs": 3, "batch_size": 5, "learning_rate": 0.002, "weight_decay": 0.05, "head": "probe", "seed": 4,
        "precision": "auto", "pooling": "mean", "frequency_mask": 0, "time_mask": 0, "device": "cpu", "store": "auto",
        "positions": "resize", "beta1": 0.9, "beta2": 0.98, "epsilon": 1e-6, "compile": "auto",
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert found["routing"]["router"] == "discriminant" and len(found["routing"]["descriptions"]) == 32


def test_the_learning_curve_has_every_epoch_and_the_best_of_it(run: Run, home: Path) -> None:
    found = _training(run, home)
    curve = found["curve"]
    assert [one["epoch"] for one in curve] == [0, 1, 2, 3]
    assert curve[0]["loss"] is None  # the linear probe has no training loss
    assert all(one["loss"] > 0 and 0 <= one["accuracy"] <= 1 for one in curve[1:])
    best = max(curve, key=lambda one: (one["validation_accuracy"], -one["validation_loss"]))
    assert found["best_epoch"] == best["epoch"]
    assert found["validation_accuracy"] == pytest.approx(best["validation_accuracy"])
    assert found["validation_loss"] == pytest.approx(best["validation_loss"], abs=1e-2)  # rounded to its file since


def test_a_rebuilt_database_has_it_again(run: Run, home: Path) -> None:
    before = _training(run, home)
    (home / "registry.db").unlink()
    run(home, "rebuild").fine()
    assert _training(run, home) == before


def test_show_and_the_model_card_tell_it(run: Run, home: Path, tmp_path: Path) -> None:
    shown = run(home, "show", "tones").fine().out
    for words in ("3 epochs, batch 5, learning rate 0.002", "pooling mean", "validation accuracy", "3: "):
        assert words in " ".join(shown.split())
    run(home, "export", "tones", tmp_path / "out").fine()
    card = (tmp_path / "out" / "README.md").read_text()
    for words in ("--epochs 3", "--batch-size 5", "--lr 0.002", "--weight-decay 0.05", "--seed 4", "--pooling mean"):
        assert words in card
    assert "| best epoch |" in card


def test_an_import_keeps_it_as_the_history_of_a_stranger(run: Run, home: Path, backbone: Path, tmp_path: Path) -> None:
    run(home, "export", "tones", tmp_path / "out").fine()
    run(tmp_path / "guest", "import", tmp_path / "out", "--backbone", backbone).fine()
    assert _training(run, tmp_path / "guest")["epochs"] == 3


@pytest.mark.slow
def test_routing_that_is_rebuilt_keeps_the_training(run: Run, home: Path) -> None:
    before = _training(run, home)
    run(home, "route").fine()
    after = _training(run, home)
    assert after == before
    with Manager.open(home, device="cpu") as manager:
        assert manager.registry.task("tones").version.number == 2


def test_what_a_version_of_an_older_release_lacks_is_not_made_up(run: Run, home: Path) -> None:
    import sqlite3

    with sqlite3.connect(home / "registry.db") as database:
        database.execute("update versions set training = ?", (json.dumps({}),))
    database.close()
    assert _training(run, home) == {}
    assert "epochs" not in run(home, "show", "tones").fine().out


@pytest.mark.slow
def test_a_very_long_training_is_not_refused_after_it(run: Run, data: Path, backbone: Path, tmp_path: Path) -> None:
    words = ["--method", "linear", "--epochs", 1300, "--few-shot", 1, "--no-eval"]
    run(tmp_path / "home", "add-task", data / "tones", "--backbone", backbone, *words).fine()
    found = _training(run, tmp_path / "home")
    epochs = [one["epoch"] for one in found["curve"]]
    assert epochs[0] == 0 and epochs[-1] == 1300 and found["best_epoch"] in epochs
    assert len(epochs) <= 502 and epochs == sorted(set(epochs))
