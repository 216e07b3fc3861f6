"""Saves the state of a training between epochs, so that a killed training can be resumed and gives the same weights."""

import hashlib
import json
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor

from cl_ast.errors import CorruptRegistryError, TrainingError
from cl_ast.progress import ClAstWarning
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training import checkpoint_files
from registry import header

_EVERY = 60.0  # seconds; repeating a short training takes less time than saving it
_RULE = f"a training is saved at the end of an epoch, {_EVERY:.0f} s or more after it began or was last saved"
_FORM = 2  # of what the file holds; another release's is another training
_COPIES = 4  # of the task's weights, at most: they, the best, and two moments of AdamW
_LARGEST_REST = 64 * 2**20  # bytes, for all else
_SCHEDULE = ("last_epoch", "_step_count", "_last_lr")  # what changes of a schedule
# What reading a file raises that anybody may have written.
_WRONG = (
    CorruptRegistryError,
    SafetensorError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


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
    """The file of one training: weights, best weights, optimiser, schedule and random state, as safetensors.

    Such files are trusted no more than any other: everything in one is compared with what the training would write.
    """

    def __init__(self, folder: Path, training: Mapping[str, Any], *, place: str = "", every: float = _EVERY) -> None:
        """
        Args:
            folder: the folder of the checkpoints.
            training: everything that identifies the training (method, data, options); only the same one can resume.
            place: the registry and the task that it is for.
            every: the shortest time between two writes, in seconds.
        """
        self._key = _hash(json.dumps({**training, "place": place, "form": _FORM}, sort_keys=True, default=str))
        self._place = _hash(place)[:16]
        self.path = folder / f"{self._place}-{self._key[:40]}.safetensors"
        self._every = every
        self._last = time.perf_counter()
        self._older = 0  # the epochs of a checkpoint of an earlier run, which is kept until this run has passed it
        self._writes = True

    def look(self, model: TaskModel) -> int:
        """Return how many epochs of this training an earlier run saved, and keep them until this run has passed them.

        Warns:
            ClAstWarning: there is a file, but it is damaged or not a checkpoint of this training.
        """
        try:
            self._older = self._read(model).epoch
        except (FileNotFoundError, NotADirectoryError):
            self._older = 0
        except (OSError, *_WRONG) as error:
            self._older = 0
            message = f"{self.path}: the checkpoint is damaged ({_reason(error)}), and is not used"
            warnings.warn(message, ClAstWarning, stacklevel=2)
        return self._older

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

        Warns:
            ClAstWarning: it cannot be written, as on a full disk; nothing more is written then.
        """
        if not self._writes or epoch <= self._older or time.perf_counter() - self._last < self._every:
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
            "schedule": {name: schedule.state_dict()[name] for name in _SCHEDULE},
        }
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        try:
            checkpoint_files.write(self.path, save(on_cpu, metadata={header.KEY: json.dumps(facts)}))
        except OSError as error:
            self._writes = False
            message = (
                f"the training goes on without checkpoints: {self.path.parent} cannot be written ({_reason(error)})"
            )
            warnings.warn(message, ClAstWarning, stacklevel=2)
        self._last = time.perf_counter()

    def restore(
        self,
        model: TaskModel,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> tuple[int, History]:
        """Restore the state; return how many epochs are done, and their history.

        Raises:
            TrainingError: there is no checkpoint, it is damaged, or there is only one of another training.
        """
        try:
            saved = self._read(model)
            with torch.no_grad():
                for name, tensor in model.state().items():
                    tensor.copy_(saved.model[name])
            _put_moments(optimiser, saved.optimiser)
            schedule.load_state_dict({**schedule.state_dict(), **saved.schedule})
            # The cosine schedule computes the next rate from the one in the optimiser.
            for group, rate in zip(optimiser.param_groups, schedule.get_last_lr(), strict=True):
                group["lr"] = rate
            _put_random_state(saved.random)
        except (FileNotFoundError, NotADirectoryError):
            raise TrainingError(self._nothing_to_resume()) from None
        except (OSError, *_WRONG) as error:
            raise TrainingError(
                f"{self.path}: the checkpoint is damaged ({_reason(error)}); leave out --resume"
            ) from None
        return saved.epoch, saved.history

    def _read(self, model: TaskModel) -> "_Saved":
        """Return what the file holds. Raises OSError or one of `_WRONG`."""
        own = model.state()
        size = sum(tensor.numel() * tensor.element_size() for tensor in own.values())
        return _Saved.of(checkpoint_files.read(self.path, _COPIES * size + _LARGEST_REST), self._key, own)

    def _nothing_to_resume(self) -> str:
        try:
            others = any(self.path.parent.glob(f"{self._place}-*.safetensors"))
        except OSError:
            others = False
        if others:
            return (
                "the interrupted training had other data, another method or other options; "
                f"give the same ones, or leave out --resume ({_RULE})"
            )
        return f"there is no interrupted training of this task ({_RULE}); leave out --resume"

    def drop(self) -> None:
        """Remove the file, because the training was committed."""
        with suppress(OSError):  # The task is safe already.
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Saved:
    """What a file holds, checked. Only what a training of this model would write is taken."""

    epoch: int
    history: History
    schedule: Mapping[str, Any]
    model: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]
    random: Mapping[str, Tensor]

    @classmethod
    def of(cls, data: bytes, key: str, own: Mapping[str, Tensor]) -> "_Saved":
        """Read a file. Raises one of `_WRONG`.

        Args:
            key: identifies the training.
            own: the weights of the task that is trained.
        """
        from safetensors.torch import load

        facts = json.loads(header.read(data).metadata[header.KEY])
        tensors = load(data)
        if facts["training"] != key:
            raise ValueError("it is of another training")
        best_epoch, accuracy, loss = facts["best"]
        state, best = _under("model", tensors), _under("best", tensors)
        for weights in (state, best):
            if {name: _kind(tensor) for name, tensor in weights.items()} != {n: _kind(t) for n, t in own.items()}:
                raise ValueError("its weights are not those of this task")
            if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
                raise ValueError("its weights are not numbers")
        curve = tuple(EpochScores(*one) for one in facts["curve"])
        schedule = {name: facts["schedule"][name] for name in _SCHEDULE}
        counts = (facts["epoch"], best_epoch, *(one.epoch for one in curve))
        optional = [value for one in curve for value in (one.loss, one.accuracy) if value is not None]
        measured = [value for one in curve for value in (one.validation_loss, one.validation_accuracy)]
        numbers = [facts["seconds"], accuracy, loss, *optional, *measured, *schedule["_last_lr"]]
        whole = all(type(count) is int and 0 <= count < 2**31 for count in counts)
        if not (whole and facts["epoch"] and all(type(number) in (int, float) for number in numbers)):
            raise ValueError("its numbers cannot be right")
        history = History(best_epoch, accuracy, loss, best, facts["seconds"], curve)
        return cls(facts["epoch"], history, schedule, state, _under("optimiser", tensors), _under("random", tensors))


def _kind(tensor: Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _reason(error: Exception) -> str:
    """Return what is wrong on one line, without the path of the file, which the message names anyway."""
    said = error.strerror if isinstance(error, OSError) else str(error)
    return " ".join((said or type(error).__name__).split())[:200]


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
    parameters = [one for group in optimiser.param_groups for one in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        shape = torch.Size() if name == "step" else parameters[int(index)].shape
        if name not in ("step", "exp_avg", "exp_avg_sq") or tensor.shape != shape:
            raise ValueError("its optimiser is not that of this training")
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
