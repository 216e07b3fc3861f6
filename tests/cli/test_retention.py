"""Nothing is forgotten: answers are bit-identical, whatever else is learned or removed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cl_ast.audio import reading as audio
from cl_ast.audio.reading import Waveform
from cl_ast.inference.prediction import Prediction
from cl_ast.manager import Manager
from tests.cli.conftest import MakeFolder, Run


@pytest.fixture(scope="module")
def waveforms(data: Path) -> list[Waveform]:
    """Return clips of every task, and of lengths that no task has."""
    random = np.random.default_rng(1)
    read = [audio.read(path) for path in sorted(data.rglob("0[0-2].wav"))]
    return [*read, *(random.normal(scale=0.1, size=n).astype(np.float32) for n in (1, 500, 40_000))]


def logits(registry: Path, task: str, waveforms: list[Waveform]) -> Tensor:
    with Manager.open(registry, device="cpu") as manager:
        return manager.logits(waveforms, task)


def routes(registry: Path, data: Path) -> list[tuple[object, ...]]:
    """Return the score of each task, and the answer, for every clip."""
    found: list[tuple[object, ...]] = []
    with Manager.open(registry, device="cpu") as manager:
        for p in manager.predict(sorted(data.rglob("*.wav"))):
            assert isinstance(p, Prediction)
            found.append((p.path, p.task, p.known, p.tasks, p.labels))
    return found


@pytest.mark.slow
def test_logits_are_bit_identical_after_more_tasks(stages: Mapping[str, Path], waveforms: list[Waveform]) -> None:
    first = logits(stages["tones"], "tones", waveforms)
    assert first.shape == (len(waveforms), 2)
    assert torch.isfinite(first).all()
    assert torch.equal(first, logits(stages["noises"], "tones", waveforms))
    assert torch.equal(first, logits(stages["chirps"], "tones", waveforms))
    adapted = logits(stages["noises"], "noises", waveforms)
    assert torch.equal(adapted, logits(stages["chirps"], "noises", waveforms))
    assert not torch.equal(first, adapted)


def test_logits_are_bit_identical_after_another_task_is_removed(
    registry: Path, stages: Mapping[str, Path], waveforms: list[Waveform], run: Run
) -> None:
    before = {task: logits(registry, task, waveforms) for task in ("tones", "chirps")}
    run(registry, "remove", "noises").fine()
    for task, logit in before.items():
        assert torch.equal(logit, logits(registry, task, waveforms))


@pytest.mark.slow
def test_logits_do_not_change_while_one_manager_learns_on(
    stage: MakeFolder, data: Path, waveforms: list[Waveform]
) -> None:
    import streams
    from cl_ast.training.options import TrainOptions

    with Manager.open(stage("tones"), device="cpu") as manager:
        before = manager.logits(waveforms, "tones")
        backbone = manager.backbone.fingerprint
        manager.add_task(streams.load(data / "chirps"), method="full", options=TrainOptions(epochs=1))
        assert torch.equal(before, manager.logits(waveforms, "tones"))
        assert manager.backbone.fingerprint == backbone


@pytest.mark.slow
def test_a_removed_task_leaves_no_trace_in_the_routing(
    registry: Path, stage: MakeFolder, data: Path, run: Run, backbone: Path
) -> None:
    run(registry, "remove", "noises").fine()
    never = stage("tones")
    run(never, "add-task", data / "chirps", "--method", "linear", "--epochs", 2, "--backbone", backbone).fine()
    assert routes(registry, data) == routes(never, data)


@pytest.mark.slow
def test_another_task_does_not_change_how_well_clips_fit_a_task(
    stages: Mapping[str, Path], waveforms: list[Waveform]
) -> None:
    def fits(task: str) -> tuple[Tensor, Tensor]:
        with Manager.open(stages[task], device="cpu") as manager:
            routing = manager.session.routing.tasks()["tones"]
            return routing.state.fit(manager.session.routing.space.describe(waveforms)), routing.calibration

    first = fits("tones")
    for task in ("noises", "chirps"):
        assert all(torch.equal(one, other) for one, other in zip(first, fits(task), strict=True))
