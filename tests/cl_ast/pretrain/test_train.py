"""A pretraining: interrupted and resumed, on a stand-in for a GPU, by several processes, and from the command line."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cl_ast.errors import TrainingError
from cl_ast.pretrain import cache, optimising
from cl_ast.pretrain.__main__ import main
from cl_ast.pretrain.model import Shape
from cl_ast.pretrain.options import Options
from cl_ast.pretrain.train import Run, Worker, train

TINY = Shape(width=32, depth=1, heads=2, hidden=64, frames=64)
OPTIONS = Options(steps=6, validate_every=2, batch_frames=600, validation_frames=600, warmup_steps=1, shape=TINY)


@pytest.fixture(scope="module")
def clips() -> cache.Clips:
    """Return sounds of which a third each is labelled as words, phrases and sounds."""
    found = cache.render_chunk(1, "sound", 0, 9)
    kinds, families = found.table[:, cache.COLUMNS.index("kind")], found.table[:, cache.COLUMNS.index("family")]
    kinds[:] = [number // 3 for number in range(9)]
    families[:6] = -1
    found.table[:6, cache.COLUMNS.index("language") :] = [0, 1, 2]
    found.table[:3, cache.COLUMNS.index("word")] = 3
    return found


def same(one: Any, two: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


def results(folder: Path) -> dict[str, Any]:
    """Return the checkpoint and the log of a training, without the times."""
    state = torch.load(folder / "state.pt", weights_only=True)
    del state["seconds"]
    for row in state["rows"]:
        del row["seconds"]
    with (folder / "log.csv").open() as file:
        log = [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]
    return {"state": state, "log": log, "weights": (folder / "backbone" / "model.safetensors").read_bytes()}


def stopping_after(steps: int, take: Callable[..., Any]) -> Callable[..., Any]:
    """Return `Worker.take_step` as it is, but interrupted as by Control-C when that many steps are taken."""

    def step(worker: Worker, progress: float) -> Any:
        if worker.step > steps:
            raise KeyboardInterrupt
        return take(worker, progress)

    return step


@pytest.mark.slow
def test_an_interrupted_training_ends_with_exactly_the_same_weights_and_log(
    clips: cache.Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(clips, clips, tmp_path / "whole", OPTIONS)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Worker, "take_step", stopping_after(3, Worker.take_step))
        train(clips, clips, tmp_path / "stopped", OPTIONS)
    assert results(tmp_path / "stopped")["state"]["step"] == 2
    torch.manual_seed(99)  # The random state of the new process is another one.
    train(clips, clips, tmp_path / "stopped", OPTIONS, resume=True)
    whole, resumed = results(tmp_path / "whole"), results(tmp_path / "stopped")
    assert [row["step"] for row in resumed["log"]] == ["2", "4", "6"]
    assert same(whole, resumed)
    train(clips, clips, tmp_path / "stopped", OPTIONS, resume=True)  # It is done: nothing changes.
    assert same(whole, results(tmp_path / "stopped"))


@pytest.mark.slow
def test_what_cannot_be_resumed_is_refused(clips: cache.Clips, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no interrupted training here; leave out --resume"):
        train(clips, clips, tmp_path, OPTIONS, resume=True)
    train(clips, clips, tmp_path, Options(steps=1, batch_frames=64, validation_frames=64, shape=TINY))
    kept = (tmp_path / "state.pt").read_bytes(), (tmp_path / "run.json").read_bytes()
    with pytest.raises(TrainingError, match=r"differs in steps, batch_frames, .*; give the same"):
        train(clips, clips, tmp_path, OPTIONS, resume=True)
    assert kept == ((tmp_path / "state.pt").read_bytes(), (tmp_path / "run.json").read_bytes())
    for damaged in (kept[0][:1000], b"", b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R."):
        (tmp_path / "state.pt").write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"state\.pt: the checkpoint is damaged \(.*\); leave out --resume"):
            train(clips, clips, tmp_path, OPTIONS, resume=True)


@pytest.mark.slow
def test_several_processes_train_together_and_resume(
    clips: cache.Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, steps=4, batch_frames=64, workers=2)
    train(clips, clips, tmp_path / "whole", options)
    with monkeypatch.context() as patch:  # Both processes are forked with this, and end quietly.
        patch.setattr(Worker, "take_step", stopping_after(3, Worker.take_step))
        train(clips, clips, tmp_path / "stopped", options)
    assert results(tmp_path / "stopped")["state"]["step"] == 2
    train(clips, clips, tmp_path / "stopped", options, resume=True)
    assert same(results(tmp_path / "whole"), results(tmp_path / "stopped"))


def test_several_processes_cannot_share_a_gpu(clips: cache.Clips, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="2 workers cannot share cuda"):
        train(clips, clips, tmp_path, replace(OPTIONS, workers=2), device="cuda")


class OneDevice(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Fails where an operation takes or gives tensors of several devices. Such an operation would be a copy."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor) and leaf.ndim]
        assert len({tensor.device.type for tensor in tensors}) <= 1, func
        return out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_a_step_on_a_gpu_neither_waits_for_it_nor_copies(clips: cache.Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    # FakeTensorMode knows the shape and the device of each tensor but has no values. So reading one raises an error,
    # and so does an operation whose shape depends on values. Both would make the host wait for a real GPU.
    worker = Worker(0, Run(clips, clips, Path(), OPTIONS, torch.device("cpu"), None, {}))
    generator, gpu = torch.Generator, torch.device("cuda")
    monkeypatch.setattr(torch, "Generator", lambda device: generator("cpu"))
    # The backward pass needs a real device. It has the operations of the forward pass, on the same devices.
    monkeypatch.setattr(Tensor, "backward", lambda loss: _give_gradients(worker.model))
    with FakeTensorMode(allow_non_fake_inputs=True):
        worker.device = worker.augmenter.device = gpu
        worker.model, worker.average = worker.model.to(gpu), worker.average.to(gpu)
        for name, value in vars(worker.augmenter).items():
            if isinstance(value, Tensor):
                setattr(worker.augmenter, name, value.to(gpu))
        worker.optimisers = optimising.optimisers(worker.model, OPTIONS)
        with pytest.raises(Exception, match="_local_scalar_dense"):
            float(torch.ones(1, device=gpu))  # It does notice reading,
        one_device = OneDevice()  # type: ignore[no-untyped-call]
        with one_device, pytest.raises(AssertionError, match="copy"):
            torch.ones(2).to(gpu)  # and copying.
        worker.step = 1
        worker.take_step(0.1)  # The optimisers make their moments.
        for progress in (0.2, 0.99):
            worker.step += 1
            with one_device:
                terms, _ = worker.take_step(progress)
            assert {term.device.type for term in terms.values()} == {"cuda"}


def _give_gradients(model: torch.nn.Module) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["--out", str(tmp_path / "out"), "--device", "cuda"])
    assert done.exit_code == 1
    assert done.stderr == "Error: no device 'cuda' here; use --device cpu\n"
    assert not (tmp_path / "out").exists()
