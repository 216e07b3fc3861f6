"""`add-task --dry-run`: what it says is what adding the task then takes, and nothing is written."""

import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.conftest import MakeFolder, Run, Unchanged

pytestmark = pytest.mark.slow

OPTIONS = ["--method", "conformer:r=2,k=3", "--epochs", 3, "--batch-size", 4]


@pytest.mark.parametrize("more", [[], ["--store", "int8"], ["--method", "linear"]], ids=str)
def test_it_says_what_the_task_then_takes(run: Run, stage: MakeFolder, data: Path, more: list[object]) -> None:
    home = stage("tones")
    words = ["add-task", data / "noises", *OPTIONS, *more, "--no-eval", "--format", "json"]
    said = run(home, *words, "--dry-run").fine().json
    real = run(home, *words).fine().json
    assert said["task"] == real["task"] == "noises"
    assert said["method"] == real["method"]
    assert said["trainable_parameters"] == real["trainable_parameters"]
    assert said["bytes"] == pytest.approx(real["bytes"], rel=0.1)
    shown = run(home, "show", "noises", "--format", "json").fine().json
    assert said["protocol"] == shown["protocol"]
    assert (said["epochs"], said["batch_size"], said["steps"]) == (3, 4, 12)
    assert said["splits"] == {
        "train": {"clicks": 7, "hiss": 7}, "validation": {"clicks": 1, "hiss": 1}, "test": {"clicks": 2, "hiss": 2},
    }  # fmt: skip
    assert said["seconds_taken"] == 0.5
    assert said["device"] == "cpu" and said["device_memory_bytes"] is None
    assert said["memory_bytes"] > 10**7


def test_it_makes_no_registry_and_no_file(run: Run, tmp_path: Path, data: Path, backbone: Path) -> None:
    answer = run(tmp_path / "home", "add-task", data / "tones", "--backbone", backbone, *OPTIONS, "--dry-run").fine()
    assert "nothing was written" in answer.out
    assert list(tmp_path.iterdir()) == []


def test_it_changes_nothing_that_is_there(
    run: Run, registry: Path, clips: MakeFolder, quick: list[object], unchanged: Unchanged
) -> None:
    with unchanged(registry):
        answer = run(registry, "add-task", clips(), *quick, "--dry-run").fine()
    assert "training " not in answer.err and "timing a few steps 4/4" in answer.err
    for words in ("class train validation test", "high 7 1 2", "all 2 14 2 4", "hears 0.5 s"):
        assert words in " ".join(answer.out.split())
    assert re.search(r"about [\d.]+ (ms|s) \([\d.]+ ms per step\)", " ".join(answer.out.split()))
    assert "leave out --dry-run" in answer.out


def test_time_is_that_of_the_steps(
    run: Run, registry: Path, clips: MakeFolder, quick: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cl_ast.training.step import Steps

    take = Steps.take

    def slow(steps: Steps, indices: Sequence[int]) -> object:
        time.sleep(0.1)
        return take(steps, indices)

    monkeypatch.setattr(Steps, "take", slow)
    words = ["add-task", clips(), *quick, "--batch-size", 7, "--epochs", 600, "--dry-run"]
    said = run(registry, *words, "--format", "json").fine().json
    assert 0.1 <= said["seconds_per_step"] < 0.3
    assert 120 <= said["training_seconds"] < 400  # two steps in each epoch
    assert "min (" in run(registry, *words).fine().out


def test_what_a_training_would_refuse_it_refuses(run: Run, registry: Path, data: Path, quick: list[object]) -> None:
    words = ["-q", "add-task", data / "tones", *quick, "--dry-run"]
    run(registry, *words).refused("tones", "--replace")
    run(registry, *words, "--replace").fine()
    run(registry, *words, "--name", "more", "--method", "nonsense").refused("nonsense")
    run(registry, *words, "--name", "more", "--router", "ridge").refused("router")
