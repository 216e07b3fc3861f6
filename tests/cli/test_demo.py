"""The demo tells its whole story, and can tell it again."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from cl_ast.terminal import demo_story as demo
from cl_ast.training.options import TrainOptions
from registry import Registry


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "OPTIONS", TrainOptions(epochs=1, batch_size=16))
    monkeypatch.setattr(demo, "_CLIPS_A_CLASS", 8)


def test_the_demo_learns_predicts_and_ends_with_statistics_and_can_be_run_again(short: None, tmp_path: Path) -> None:
    for _ in range(2):
        told = CliRunner().invoke(cli.main, ["-q", "demo", str(tmp_path / "demo")])
        assert told.exit_code == 0, told.output
        for task in demo.TASKS:
            assert f"{task.name} learned in" in told.stdout
        assert "noise.wav" in told.stdout
        assert "forgetting" in told.stdout
        assert told.stdout.index("forgetting") < told.stdout.index("Everything is in")
    with Registry.open(tmp_path / "demo" / "registry") as registry:
        assert [task.name for task in registry.tasks()] == [task.name for task in demo.TASKS]
        registry.rename("sounds", "mine")
    refused = CliRunner().invoke(cli.main, ["-q", "demo", str(tmp_path / "demo")])
    assert refused.exit_code == 1
    assert "has other tasks than the demo's (mine)" in refused.stderr
