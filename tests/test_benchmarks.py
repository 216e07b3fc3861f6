"""The benchmarks still fit the library: each can be imported, and what costs nothing is run."""

import importlib
from pathlib import Path

import pytest
import torch

import streams
from cl_ast.audio.clip_reader import read_all
from cl_ast.progress import Step
from registry import Registry

FOLDER = Path(__file__).parent.parent / "benchmarks"
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("__"))


@pytest.mark.parametrize("name", MODULES)
def test_it_can_be_imported(name: str) -> None:
    pytest.importorskip("sklearn", reason="some benchmarks need scikit-learn: pip install '.[bench]'")
    assert importlib.import_module(f"benchmarks.{name}")


@pytest.mark.slow
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


@pytest.mark.parametrize("layout", ["gsc", "fsc"])
def test_synthetic_data_have_the_layout_and_the_shares_of_the_real_ones(tmp_path: Path, layout: str) -> None:
    scale = importlib.import_module("benchmarks.scale")
    task = streams.load(layout, data=scale.LAYOUTS[layout](tmp_path / "data", 350))
    clips = [*task.train, *task.validation, *task.test]
    assert len({clip.path for clip in clips}) == 350
    assert 0.7 < len(task.train) / 350 < 0.85
    for clip, waveform in zip(clips[:40], read_all([clip.path for clip in clips[:40]]), strict=True):
        assert 16_000 <= len(waveform) <= 64_000, clip
        assert 0.1 < abs(waveform).max() < 1


def test_a_stage_that_grows_faster_than_the_clips_misses_its_target() -> None:
    scale = importlib.import_module("benchmarks.scale")
    few = {"listing": 1.0, "fingerprinting": 1.0, "rounding and calibrating": 1.0, "routing": 9.0, "measuring": 2.0}
    few |= {"one epoch": 8.0, "MB": 500.0}
    many = {name: 4 * number for name, number in few.items()} | {"fingerprinting": 8.0, "routing": 9.0}
    rows = {row.what: row for row in scale._growth("gsc", {100: few, 400: many})}
    met = {what.split(": ")[1]: row.met for what, row in rows.items()}
    assert met == {stage: stage != "fingerprinting" for stage in scale.NO_LONGER_THAN_AN_EPOCH}
    longer = {row.what.split(": ")[1] for row in scale._rows(100, "gsc", few) if not row.met}
    assert longer == {"routing"}


def test_the_clock_gives_each_stage_its_time() -> None:
    scale = importlib.import_module("benchmarks.scale")
    clock = scale.Clock()
    clock._now = iter(range(9)).__next__
    clock._last = -1
    for stage in ("reading training clips", "reading validation clips", "training", "something new"):
        clock(Step(stage, 1, 1))
    clock(Step("learning to recognise this task's clips", 0, 1))  # announced when what came before has ended
    clock(Step("learning to recognise this task's clips", 1, 1))
    assert clock.seconds == {"reading": 2, "epochs": 1, "something new": 2, "routing": 1}


@pytest.mark.slow
def test_each_stage_of_a_task_has_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CL_AST_CACHE", str(tmp_path / "cache"))
    scale = importlib.import_module("benchmarks.scale")
    found = scale.stages(105, "gsc", tmp_path)
    stages = {"reading", "probe", "epochs", *scale.NO_LONGER_THAN_AN_EPOCH}
    assert stages < set(found) and set(found) - stages == {
        "opening", "committing", "one epoch", "reading again, with cached features", "MB at the peak",
    }  # fmt: skip
    assert all(number > 0 for number in found.values())
    with Registry.open(tmp_path / "registry") as registry:
        assert len(registry.versions("gsc")) == 1  # the second training was stopped
