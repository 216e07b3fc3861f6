"""The benchmarks still fit the library: each can be imported, and what costs nothing is run."""

import importlib
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parent.parent / "benchmarks"
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("__"))


@pytest.mark.parametrize("name", MODULES)
def test_it_can_be_imported(name: str) -> None:
    pytest.importorskip("sklearn", reason="some benchmarks need scikit-learn: pip install '.[bench]'")
    assert importlib.import_module(f"benchmarks.{name}")


def test_the_pieces_for_a_gpu_run_on_a_cpu_with_a_tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft", reason="compares with peft: pip install '.[dev]'")
    from transformers import ASTConfig

    from benchmarks import gpu, gpu_serving
    from benchmarks.gpu_steps import Plan

    monkeypatch.setattr(gpu_serving, "TASKS", 8)
    tiny = ASTConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48)
    plan = Plan(
        torch.device("cpu"),
        tiny,
        rounds=2,
        methods=("full", "lora", "conformer"),
        compiled=(),
        lengths=(30,),
        batch=2,
        large=(2, 30),
        clips=6,
    )
    rows = gpu.measure_with(plan)
    assert {row.what.split(":")[0] for row in rows} >= {"a step of 2 clips of 0.3 s", "8 clips of 8 tasks"}
    assert all(row.value is not None and row.value >= 0 for row in rows)
    assert any("predict, 6 files" in row.what and row.ratio and row.ratio > 0 for row in rows)
