"""A registry whose backbone is in 8 bits: it says so, keeps to it, and refuses the other precision."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cl_ast import Manager
from cl_ast.errors import RegistryError

Run = Callable[..., Any]
INT8 = ["--backbone-precision", "int8"]


@pytest.fixture(scope="module")
def small(run: Run, data: Path, backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a task over a backbone in 8 bits."""
    home = tmp_path_factory.mktemp("int8") / "home"
    run(home, "add-task", data / "tones", "--backbone", backbone, *INT8, "--method", "lora:q,r=2", "--epochs", 1).fine()
    return home


@pytest.mark.slow
def test_it_is_kept_to_and_takes_a_fourth(run: Run, small: Path, registry: Path, data: Path) -> None:
    stats = [run(home, "stats", "--format", "json").fine().json["backbone"] for home in (small, registry)]
    assert stats[0]["fingerprint"].startswith("int8:")
    assert stats[0]["parameters"] == stats[1]["parameters"]
    assert stats[0]["bytes"] < 0.6 * stats[1]["bytes"]  # of a tiny one; AST-base has 90 MB for 345 MB
    run(small, "verify").fine()
    answer = run(small, "predict", next((data / "tones").rglob("*.wav")), "--task", "tones", "--format", "json")
    assert answer.fine().json[0]["task"] == "tones"
    run(small, "add-task", data / "noises", "--method", "linear", "--epochs", 1).fine()  # as the registry is


def test_the_other_precision_is_refused_before_any_work(run: Run, small: Path, registry: Path, data: Path) -> None:
    for home, wanted, there in ((small, "fp32", "int8"), (registry, "int8", "fp32")):
        answer = run(home, "add-task", data / "chirps", "--backbone-precision", wanted)
        assert answer.code == 1
        assert f"its backbone's weights in {there}, and not in {wanted}" in " ".join(answer.err.split())
        assert f"relearn --to REGISTRY --backbone-precision {wanted}" in " ".join(answer.err.split())
        assert "reading" not in answer.err
        with Manager.open(home, backbone_precision=wanted) as manager, pytest.raises(RegistryError, match="weights in"):
            assert manager.backbone


def test_a_task_moves_between_registries_of_one_precision(
    run: Run, small: Path, registry: Path, backbone: Path, tmp_path: Path
) -> None:
    run(small, "export", "tones", tmp_path / "shared").fine()
    again = tmp_path / "again"
    run(again, "import", tmp_path / "shared", "--backbone", backbone).fine()  # new, in 8 bits as the task says
    assert run(again, "stats", "--format", "json").fine().json["backbone"]["fingerprint"].startswith("int8:")
    refused = run(registry, "import", tmp_path / "shared", "--name", "other")
    assert refused.code == 1
    assert "int8:" in refused.err and "open it with its own backbone" in " ".join(refused.err.split())


@pytest.mark.slow
def test_tasks_are_trained_again_in_8_bits(run: Run, registry: Path, backbone: Path, tmp_path: Path) -> None:
    words = ["relearn", "tones", "--to", tmp_path / "small", "--backbone", backbone, *INT8, "--format", "json"]
    assert run(registry, *words).fine().json["backbone"]["fingerprint"].startswith("int8:")
