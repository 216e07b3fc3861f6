"""Saves the state of a training between epochs, so that a killed training can be resumed and gives the same weights."""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cl_ast.errors import CorruptRegistryError, TrainingError
from cl_ast.tasks.task_model import TaskModel
from registry import header

_EVERY = 60.0  # seconds; repeating a short training takes less time than saving it


class EpochScores(NamedTuple):
    """The scores of one epoch: over training clips as they were trained on, and over validation clips after it.

    Epoch 0 is the linear probe, which has no training scores.
    """

    epoch: int
    loss: float | None
    accuracy: float | None
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True, slots=True)
class History:
    """The progress of a training.

    Attributes:
        epoch, accuracy, loss: the best epoch on validation clips, and its scores on them.
        state: a copy of the task's weights at that epoch.
        seconds: the time spent in earlier processes, before a resume.
        curve: the scores of every epoch.
    """

    epoch: int = 0
    accuracy: float = -1.0
    loss: float = float("inf")
    state: Mapping[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    curve: tuple[EpochScores, ...] = ()


class Checkpoint:
    """The file of one training: weights, best weights, optimiser, schedule and random state, as safetensors."""

    def __init__(self, path: Path, training: Mapping[str, Any], *, every: float = _EVERY) -> None:
        """
        Args:
            path: the path of the file, which is written completely or not at all.
            training: everything that identifies the training (method, data, options); only the same one can resume.
            every: the shortest time between two writes, in seconds.
        """
        self.path = path
        self._key = hashlib.sha256(json.dumps(training, sort_keys=True, default=str).encode()).hexdigest()
        self._every = every
        self._last = time.perf_counter()

    def save(
        self,
        model: TaskModel,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        epoch: int,
        history: History,
        seconds: float,
    ) -> None:
        """Write the state after an epoch, unless the last write was less than `every` seconds ago.

        Args:
            seconds: the time spent in this process so far.
        """
        if time.perf_counter() - self._last < self._every:
            return
        from safetensors.torch import save

        tensors = {
            **_named("model", model.state()),
            **_named("best", history.state),
            **_named("optimiser", _moments(optimiser)),
            **_named("random", _random_state(model.backbone.device)),
        }
        facts = {
            "training": self._key,
            "epoch": epoch,
            "seconds": history.seconds + seconds,
            "best": [history.epoch, history.accuracy, history.loss],
            "curve": [list(one) for one in history.curve],
            "schedule": schedule.state_dict(),
        }
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        data = save(on_cpu, metadata={header.KEY: json.dumps(facts)})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(f".{os.getpid()}.part")
        temporary.write_bytes(data)
        temporary.replace(self.path)
        self._last = time.perf_counter()

    def restore(
        self,
        model: TaskModel,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> tuple[int, History]:
        """Restore the state; return how many epochs are done, and their history.

        Raises:
            TrainingError: there is no checkpoint, it is damaged, or it is of another training.
        """
        tensors, facts = self._read()
        with torch.no_grad():
            for name, tensor in model.state().items():
                tensor.copy_(tensors[f"model.{name}"])
        _put_moments(optimiser, _under("optimiser", tensors))
        schedule.load_state_dict(facts["schedule"])
        # The cosine schedule computes the next rate from the one in the optimiser.
        for group, rate in zip(optimiser.param_groups, schedule.get_last_lr(), strict=True):
            group["lr"] = rate
        _put_random_state(_under("random", tensors))
        epoch, accuracy, loss = facts["best"]
        curve = tuple(EpochScores(*one) for one in facts["curve"])
        return facts["epoch"], History(epoch, accuracy, loss, _under("best", tensors), facts["seconds"], curve)

    def _read(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and the facts in the file. Raises TrainingError as `restore` does."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            data = self.path.read_bytes()
            tensors = load(data)
            facts: dict[str, Any] = json.loads(header.read(data).metadata[header.KEY])
        except FileNotFoundError:
            raise TrainingError("there is no interrupted training of this task; leave out --resume") from None
        except (OSError, SafetensorError, CorruptRegistryError, KeyError, ValueError) as error:
            raise TrainingError(f"{self.path}: the checkpoint is damaged ({error}); leave out --resume") from None
        if facts["training"] != self._key:
            raise TrainingError(
                "the interrupted training had other data, another method or other options; "
                "give the same ones, or leave out --resume"
            )
        return tensors, facts

    def drop(self) -> None:
        """Remove the file, because the training was committed or starts again."""
        self.path.unlink(missing_ok=True)


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def _moments(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return AdamW's step counts and moments, named by the index of their parameter."""
    return {
        f"{index}.{name}": value
        for index, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
    }


def _put_moments(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _random_state(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _put_random_state(states: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])
