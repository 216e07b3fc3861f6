"""Trainings as they happen: killed and resumed to the same weights, and in half precision."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cl_ast.adapters.spec import parse
from cl_ast.audio import synthesis as synth
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.audio.reading import SAMPLE_RATE
from cl_ast.backbone import pretrained as checkpoints
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import TrainingError
from cl_ast.progress import Step, silent
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.checkpoint import Checkpoint
from cl_ast.training.clips import ClipSet
from cl_ast.training.options import Hyperparameters
from cl_ast.training.trainer import Trained, train

pytestmark = pytest.mark.slow

OPTIONS = Hyperparameters(epochs=4, batch_size=4, frequency_mask=8, time_mask=4)


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return checkpoints.load("ast-mini")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    import numpy as np
    import soundfile

    folder = tmp_path_factory.mktemp("clips")
    random = np.random.default_rng(0)
    paths = []
    for i in range(12):
        paths.append(folder / f"{i}.wav")
        soundfile.write(paths[-1], synth.render((synth.dog, synth.rain)[i % 2], random, 0.5), SAMPLE_RATE)
    return paths


def run(
    backbone: Backbone,
    clips: list[Path],
    *,
    checkpoint: Checkpoint | None = None,
    resume: bool = False,
    progress: Callable[[Step], None] = silent,
    options: Hyperparameters = OPTIONS,
) -> tuple[Trained, dict[str, Tensor]]:
    front_end = LogMelFrontEnd(50)
    settings = TaskSettings("dogs", parse("conformer:r=2,k=3"), ("dog", "rain"), front_end)
    model = TaskModel.fresh(settings, backbone, torch.Generator().manual_seed(0))
    training = ClipSet(clips[:8], [i % 2 for i in range(8)], front_end)
    validation = ClipSet(clips[8:], [i % 2 for i in range(4)], front_end)
    trained = train(model, training, validation, options, progress, checkpoint=checkpoint, resume=resume)
    return trained, model.state()


def killed_in(epoch: int) -> Callable[[Step], None]:
    def progress(step: Step) -> None:
        if step.note.startswith(f"epoch {epoch}/"):
            raise KilledError

    return progress


@pytest.mark.parametrize("epoch", [2, 4])
def test_resumed_weights_are_those_of_an_uninterrupted_training(
    backbone: Backbone, clips: list[Path], tmp_path: Path, epoch: int
) -> None:
    expected, weights = run(backbone, clips)
    checkpoint = Checkpoint(tmp_path, {"seed": 0}, every=0)
    with pytest.raises(KilledError):
        run(backbone, clips, checkpoint=checkpoint, progress=killed_in(epoch))
    stages: list[str] = []
    trained, resumed = run(
        backbone, clips, checkpoint=checkpoint, resume=True, progress=lambda step: stages.append(step.note)
    )
    assert f"epoch {epoch - 1}/4" not in stages
    assert (trained.epoch, trained.accuracy, trained.loss) == (expected.epoch, expected.accuracy, expected.loss)
    for name, tensor in weights.items():
        assert torch.equal(resumed[name], tensor), name


def test_another_training_or_none_or_a_damaged_one_is_refused(
    backbone: Backbone, clips: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="no interrupted training"):
        run(backbone, clips, checkpoint=Checkpoint(tmp_path, {}), resume=True)
    with pytest.raises(KilledError):
        run(backbone, clips, checkpoint=Checkpoint(tmp_path, {"lr": 1}, every=0), progress=killed_in(3))
    with pytest.raises(TrainingError, match="other options"):
        run(backbone, clips, checkpoint=Checkpoint(tmp_path, {"lr": 2}), resume=True)
    checkpoint = Checkpoint(tmp_path, {"lr": 1})
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:100])
    with pytest.raises(TrainingError, match="damaged"):
        run(backbone, clips, checkpoint=checkpoint, resume=True)


def test_short_trainings_keep_nothing(backbone: Backbone, clips: list[Path], tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, {})
    run(backbone, clips, checkpoint=checkpoint)
    assert not checkpoint.path.exists()


def test_bf16_trains_with_adapters_in_single_precision(backbone: Backbone, clips: list[Path]) -> None:
    options = Hyperparameters(epochs=6, batch_size=4, precision="bf16")
    trained, weights = run(backbone, clips, options=options)
    assert trained.accuracy == 1.0
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
