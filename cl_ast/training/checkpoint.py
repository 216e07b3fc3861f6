"""A training's state between epochs, so that one that was killed goes on to the same weights."""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cl_ast.errors import CorruptRegistryError, TrainingError
from cl_ast.tasks.task_model import TaskModel
from registry import header

_EVERY = 60.0  # seconds; short trainings are faster to do again than to keep


@dataclass(frozen=True, slots=True)
class Best:
    """The best epoch on validation so far, with a copy of its weights.

    Attributes:
        seconds: spent in earlier processes, before a resume.
    """

    epoch: int = 0
    accuracy: float = -1.0
    loss: float = float("inf")
    seconds: float = 0.0
    state: Mapping[str, Tensor] = field(default_factory=dict)


class Checkpoint:
    """One training's file: weights, best weights, optimiser, schedule and random state, as safetensors."""

    def __init__(self, path: Path, training: Mapping[str, Any], *, every: float = _EVERY) -> None:
        """
        Args:
            path: of the file; written whole or not at all.
            training: what the training is (method, data, options); another one is refused on resume.
            every: seconds between two writes at least.
        """
        self.path = path
        self._key = hashlib.sha256(json.dumps(training, sort_keys=True, default=str).encode()).hexdigest()
        self._every = every
        self._last = time.perf_counter()

    def keep(
        self,
        model: TaskModel,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        epoch: int,
        best: Best,
        seconds: float,
    ) -> None:
        """Write the state after an epoch, unless the last was written just now."""
        if time.perf_counter() - self._last < self._every:
            return
        from safetensors.torch import save

        tensors = {
            **_named("model", model.state()),
            **_named("best", best.state),
            **_named("optimiser", _moments(optimiser)),
            **_named("random", _random_state(model.backbone.device)),
        }
        facts = {
            "training": self._key,
            "epoch": epoch,
            "seconds": best.seconds + seconds,
            "best": [best.epoch, best.accuracy, best.loss],
            "schedule": schedule.state_dict(),
        }
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        data = save(plain, metadata={header.KEY: json.dumps(facts)})
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
    ) -> tuple[int, Best]:
        """Put the state back; return the epochs done and the best of them.

        Raises:
            TrainingError: there is no checkpoint, it is damaged, or it is of another training.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            data = self.path.read_bytes()
            tensors = load(data)
            facts = json.loads(header.read(data).metadata[header.KEY])
        except FileNotFoundError:
            raise TrainingError("there is no interrupted training of this task; leave out --resume") from None
        except (OSError, SafetensorError, CorruptRegistryError, KeyError, ValueError) as error:
            raise TrainingError(f"{self.path}: the checkpoint is damaged ({error}); leave out --resume") from None
        if facts["training"] != self._key:
            raise TrainingError(
                "the interrupted training had other data, another method or other options; "
                "give the same ones, or leave out --resume"
            )
        with torch.no_grad():
            for name, tensor in model.state().items():
                tensor.copy_(tensors[f"model.{name}"])
        _put_moments(optimiser, _under("optimiser", tensors))
        schedule.load_state_dict(facts["schedule"])
        # The cosine goes on from the rate it finds in the optimiser.
        for group, rate in zip(optimiser.param_groups, schedule.get_last_lr(), strict=True):
            group["lr"] = rate
        _put_random_state(_under("random", tensors))
        epoch, accuracy, loss = facts["best"]
        return facts["epoch"], Best(epoch, accuracy, loss, facts["seconds"], _under("best", tensors))

    def drop(self) -> None:
        """Forget the training: it is committed, or starts again."""
        self.path.unlink(missing_ok=True)


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def _moments(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's step counts and moments, by the place of their parameter."""
    return {
        f"{place}.{name}": value
        for place, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
    }


def _put_moments(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        place, name = key.split(".", 1)
        state.setdefault(int(place), {})[name] = tensor
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
