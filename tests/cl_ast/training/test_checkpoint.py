"""The files of checkpoints: one a training, durable, no reason to fail, and trusted no more than any other file."""

import errno
import json
import os
import resource
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from cl_ast.adapters.spec import parse
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.backbone import pretrained
from cl_ast.errors import TrainingError
from cl_ast.progress import ClAstWarning
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training import checkpoint_files
from cl_ast.training.checkpoint import Checkpoint, EpochScores, History
from registry import header


class Training:
    """A linear task with an optimiser and a schedule, whose state can be saved at will."""

    def __init__(self, seed: int = 0) -> None:
        settings = TaskSettings("dogs", parse("linear"), ("dog", "rain"), LogMelFrontEnd(50))
        generator = torch.Generator().manual_seed(seed)
        self.model = TaskModel.fresh(settings, pretrained.load("ast-mini"), generator)
        for tensor in self.model.trainable():
            tensor.requires_grad_(True).grad = torch.ones_like(tensor)
        self.optimiser = torch.optim.AdamW(self.model.trainable(), lr=0.1)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, 20)

    def save(self, checkpoint: Checkpoint, epoch: int) -> None:
        self.optimiser.step()
        self.schedule.step()
        state = {name: tensor.detach().clone() for name, tensor in self.model.state().items()}
        history = History(epoch, 0.5, 1.0, state, 0.0, (EpochScores(epoch, 1.0, 0.5, 1.0, 0.5),))
        checkpoint.save(self.model, self.optimiser, self.schedule, epoch, history, 1.0)

    def restored(self, checkpoint: Checkpoint) -> int:
        return checkpoint.restore(self.model, self.optimiser, self.schedule)[0]


@pytest.fixture
def training() -> Training:
    return Training()


def checkpoint_in(folder: Path, **options: object) -> Checkpoint:
    return Checkpoint(folder, {"lr": 1, **options}, place="registry\ndogs", every=0)


def test_each_training_has_a_file_of_its_own(tmp_path: Path, training: Training) -> None:
    one = Checkpoint(tmp_path, {"lr": 1}, place="here\ndogs", every=0)
    others = [
        Checkpoint(tmp_path, {"lr": 2}, place="here\ndogs", every=0),
        Checkpoint(tmp_path, {"lr": 1}, place="there\ndogs", every=0),
        Checkpoint(tmp_path, {"lr": 1}, place="here\ncats", every=0),
    ]
    assert len({checkpoint.path for checkpoint in (one, *others)}) == 4
    for epoch, checkpoint in enumerate((one, *others), 3):
        training.save(checkpoint, epoch)
    assert [training.restored(checkpoint) for checkpoint in (one, *others)] == [3, 4, 5, 6]
    one.drop()
    assert [other.path.exists() for other in others] == [True, True, True]


def test_an_earlier_one_is_kept_until_it_is_passed(tmp_path: Path, training: Training) -> None:
    training.save(checkpoint_in(tmp_path), 9)
    again = checkpoint_in(tmp_path)
    assert again.look(training.model) == 9
    before = again.path.read_bytes()
    for epoch in (1, 8, 9):
        training.save(again, epoch)
    assert again.path.read_bytes() == before
    training.save(again, 10)
    assert Training().restored(checkpoint_in(tmp_path)) == 10


def test_a_file_is_synced_before_it_has_its_name(
    tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, rename = os.fsync, Path.replace

    def syncs(file: int) -> None:
        done.append("sync")
        sync(file)

    def renames(path: Path, to: Path) -> Path:
        done.append("rename")
        return rename(path, to)

    monkeypatch.setattr(os, "fsync", syncs)
    monkeypatch.setattr(Path, "replace", renames)
    training.save(checkpoint_in(tmp_path / "new"), 1)
    assert done == ["sync", "rename", "sync"]  # the last is the folder's


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    def sync(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        yield


@contextmanager
def small_files_only(folder: Path) -> Iterator[None]:
    """The system refuses the write itself, as it does where a quota is used up."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:  # who may write anywhere
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


@contextmanager
def no_folder(folder: Path) -> Iterator[None]:
    folder.write_text("a file")
    yield


@pytest.mark.parametrize("trouble", [full_disk, small_files_only, read_only, no_folder])
def test_what_cannot_be_written_is_one_warning(
    tmp_path: Path, training: Training, trouble: Callable[[Path], AbstractContextManager[None]]
) -> None:
    checkpoint = checkpoint_in(tmp_path / "cache")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with trouble(tmp_path / "cache"):
            training.save(checkpoint, 1)
            training.save(checkpoint, 2)
    (one,) = said
    assert one.category is ClAstWarning
    assert "goes on without checkpoints" in str(one.message) and str(tmp_path / "cache") in str(one.message)
    assert not list(tmp_path.glob("cache/*"))


def test_a_full_disk_leaves_the_last_one(tmp_path: Path, training: Training) -> None:
    checkpoint = checkpoint_in(tmp_path)
    training.save(checkpoint, 1)
    with full_disk(tmp_path), pytest.warns(ClAstWarning):
        training.save(checkpoint, 2)
    assert training.restored(checkpoint_in(tmp_path)) == 1
    assert list(tmp_path.iterdir()) == [checkpoint.path]


Change = Callable[[dict[str, Tensor], dict[str, object]], None]


def _shape(tensors: dict[str, Tensor], _: dict[str, object]) -> None:
    tensors["model.head.bias"] = torch.zeros(1)  # which would be broadcast


def _missing(tensors: dict[str, Tensor], _: dict[str, object]) -> None:
    del tensors["best.head.bias"]


def _nan(tensors: dict[str, Tensor], _: dict[str, object]) -> None:
    tensors["model.head.bias"] = torch.full_like(tensors["model.head.bias"], torch.nan)


def _another(_: dict[str, Tensor], facts: dict[str, object]) -> None:
    facts["training"] = "0" * 64


def _epoch(_: dict[str, Tensor], facts: dict[str, object]) -> None:
    facts["epoch"] = "9"


def _curve(_: dict[str, Tensor], facts: dict[str, object]) -> None:
    facts["curve"] = [[1, 2]]


def _best(_: dict[str, Tensor], facts: dict[str, object]) -> None:
    facts["best"] = None


def _rate(_: dict[str, Tensor], facts: dict[str, object]) -> None:
    facts["schedule"] = {"_last_lr": ["0.1"], "last_epoch": 1, "_step_count": 1}


def changed(path: Path, change: Change) -> None:
    data = path.read_bytes()
    tensors, facts = load(data), json.loads(header.read(data).metadata[header.KEY])
    change(tensors, facts)
    path.write_bytes(save(tensors, metadata={header.KEY: json.dumps(facts)}))


@pytest.mark.parametrize("change", [_shape, _missing, _nan, _another, _epoch, _curve, _best, _rate])
def test_a_strangers_file_is_not_used(tmp_path: Path, training: Training, change: Change) -> None:
    checkpoint = checkpoint_in(tmp_path)
    training.save(checkpoint, 9)
    changed(checkpoint.path, change)
    check_unused(tmp_path, training)


def check_unused(folder: Path, training: Training) -> None:
    """Check that the checkpoint in a folder is a warning to a new training and an error to a resumed one."""
    again = checkpoint_in(folder)
    with pytest.warns(ClAstWarning, match="damaged"):
        assert again.look(training.model) == 0
    before = {name: tensor.detach().clone() for name, tensor in training.model.state().items()}
    with pytest.raises(TrainingError, match="damaged"):
        training.restored(again)
    assert all(torch.equal(before[name], tensor) for name, tensor in training.model.state().items())
    if again.path.is_file():
        training.save(again, 1)  # it is not kept either
        assert training.restored(checkpoint_in(folder)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "tensor", ["optimiser.0.exp_avg", "optimiser.99.exp_avg", "optimiser.0.other", "optimiser.x.step", "random.cpu"]
)
def test_a_strangers_optimiser_is_not_used(tmp_path: Path, training: Training, tensor: str) -> None:
    checkpoint = checkpoint_in(tmp_path)
    training.save(checkpoint, 9)
    changed(checkpoint.path, lambda tensors, facts: tensors.update({tensor: torch.zeros(3)}))
    with pytest.raises(TrainingError, match="damaged"):
        Training().restored(checkpoint_in(tmp_path))


@pytest.mark.parametrize("data", [b"", b"\x80\x04pickle", b"\xff" * 8 + b"{}"])
def test_what_is_no_checkpoint_is_not_used(tmp_path: Path, training: Training, data: bytes) -> None:
    checkpoint_in(tmp_path).path.write_bytes(data)
    check_unused(tmp_path, training)


@pytest.mark.slow
def test_a_file_that_never_ends_is_not_read(tmp_path: Path, training: Training) -> None:
    path = checkpoint_in(tmp_path).path
    with path.open("wb") as file:
        file.truncate(2**40)  # it takes no room
    check_unused(tmp_path, training)
    path.unlink()
    os.mkfifo(path)
    check_unused(tmp_path, training)
    path.unlink()
    path.symlink_to("/dev/zero")
    check_unused(tmp_path, training)


def test_old_ones_are_removed_and_nothing_else(tmp_path: Path, training: Training) -> None:
    ours = checkpoint_in(tmp_path, lr=2)
    training.save(ours, 1)
    part = tmp_path / f".{ours.path.stem}.{'0' * 16}.part"
    before = tmp_path / f"{'0' * 32}.safetensors"  # as the last release called them
    notes = tmp_path / "notes.safetensors"
    for path in (part, before, notes):
        shutil.copy(ours.path, path)
    month = time.time() - (checkpoint_files.OLDEST_DAYS - 1) * 86_400
    for path in (ours.path, part, before, notes):
        os.utime(path, (month, month))
    latest = checkpoint_in(tmp_path)
    training.save(latest, 1)
    assert len(list(tmp_path.iterdir())) == 5
    for path in (ours.path, part, before, notes):
        os.utime(path, (month - 2 * 86_400,) * 2)
    training.save(latest, 2)
    assert sorted(tmp_path.iterdir()) == sorted([latest.path, notes])
