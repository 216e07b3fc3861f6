"""`--augment` and `--class-weights`: recorded, shown, trained again by `relearn`, and no part of older versions."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import MakeFolder, Run
from tests.cli.test_learning import same, tensors

OPTIONS = ["--method", "bottleneck:r=2", "--epochs", 2, "--batch-size", 8, "--no-eval"]
CHOSEN = ["--augment", "mixup,noise", "--class-weights", "auto"]


@pytest.fixture
def home(run: Run, data: Path, backbone: Path, tmp_path: Path) -> Path:
    run(tmp_path / "home", "add-task", data / "tones", "--backbone", backbone, *OPTIONS, *CHOSEN).fine()
    return tmp_path / "home"


def _training(run: Run, home: Path) -> dict[str, Any]:
    found: dict[str, Any] = run(home, "show", "tones", "--format", "json").fine().json["versions"][-1]["training"]
    return found


@pytest.mark.slow
def test_they_are_recorded_shown_and_exported(run: Run, home: Path, tmp_path: Path) -> None:
    found = _training(run, home)
    assert (found["augment"], found["class_weights"]) == ("mixup,noise", "auto")
    shown = " ".join(run(home, "show", "tones").fine().out.split())
    assert "augmented with mixup,noise" in shown and "classes weighted" in shown
    run(home, "export", "tones", tmp_path / "out").fine()
    assert "--augment mixup,noise --class-weights auto" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.slow
def test_relearn_trains_with_them_to_the_same_weights(run: Run, home: Path, backbone: Path, tmp_path: Path) -> None:
    run(home, "relearn", "--to", tmp_path / "again", "--backbone", backbone).fine()
    assert _training(run, tmp_path / "again")["augment"] == "mixup,noise"
    assert same(tensors(home, "tones", run), tensors(tmp_path / "again", "tones", run))


@pytest.mark.slow
def test_a_version_of_an_older_release_is_trained_again_without_them(
    run: Run, home: Path, backbone: Path, tmp_path: Path
) -> None:
    found = _training(run, home)
    with closing(sqlite3.connect(home / "registry.db")) as database, database:
        older = {name: value for name, value in found.items() if name not in ("augment", "class_weights")}
        database.execute("update versions set training = ?", (json.dumps(older),))
    assert "augmented" not in run(home, "show", "tones").fine().out
    run(home, "relearn", "--to", tmp_path / "again", "--backbone", backbone).fine()
    again = _training(run, tmp_path / "again")
    assert (again["augment"], again["class_weights"]) == ("none", "none")


@pytest.mark.slow
def test_nothing_of_it_is_the_default(run: Run, data: Path, backbone: Path, tmp_path: Path) -> None:
    run(tmp_path / "plain", "add-task", data / "tones", "--backbone", backbone, *OPTIONS).fine()
    found = _training(run, tmp_path / "plain")
    assert (found["augment"], found["class_weights"]) == ("none", "none")


def test_other_words_are_wrong_usage(run: Run, tmp_path: Path, data: Path) -> None:
    for words in (["--augment", "mixup,echo"], ["--class-weights", "some"]):
        answer = run(tmp_path / "none", "add-task", data / "tones", *words)
        assert answer.code == 2
        assert words[1].removeprefix("mixup,") in answer.err


@pytest.mark.slow
def test_unbalanced_clips_are_said(run: Run, clips: MakeFolder, backbone: Path, tmp_path: Path) -> None:
    folder = clips()
    for path in sorted((folder / "low").iterdir())[4:]:
        path.unlink()
    words = ["add-task", folder, "--backbone", backbone, *OPTIONS]
    assert "training clips per class" not in run(tmp_path / "home", *words).fine().err
    for path in sorted((folder / "low").iterdir())[3:]:
        path.unlink()
    told = run(tmp_path / "other", *words).fine()
    assert "from 1 to 7 training clips per class; --class-weights auto" in told.err
    assert "training clips per class" not in run(tmp_path / "third", *words, "--class-weights", "auto").fine().err
