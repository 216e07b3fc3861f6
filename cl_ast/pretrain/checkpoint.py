"""Saves the state of a pretraining, so that a stopped one can be resumed and ends with the same weights."""

import hashlib
import os
import pickle
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cl_ast.errors import TrainingError
from cl_ast.pretrain.cache import Clips
from cl_ast.pretrain.options import Options

_VERSION = 1


@dataclass(slots=True)
class Checkpoint:
    """The state of a training after a step. There is no random state, since a step's draws depend on its number alone.

    Attributes:
        step, clips_seen, seconds: how far it is, and the time that it took.
        rows: the rows of the log.
        model, average: the weights and buffers, and their running average.
        optimisers: the state of each optimiser, by the index of the parameter.
    """

    step: int
    clips_seen: int
    seconds: float
    rows: list[dict[str, float]]
    model: dict[str, Tensor]
    average: dict[str, Tensor]
    optimisers: list[dict[int, dict[str, Tensor]]]


def write(path: Path, checkpoint: Checkpoint, training: dict[str, Any]) -> None:
    """Write a checkpoint durably: after a crash the file is the former one or this one.

    Args:
        training: what identifies the training, see `identity`.
    """
    temporary = path.with_suffix(".part")
    state = {field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}
    with temporary.open("wb") as file:
        torch.save({"version": _VERSION, "training": training, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read(path: Path, training: dict[str, Any]) -> Checkpoint:
    """Read a checkpoint, with its tensors on the CPU.

    Raises:
        TrainingError: there is none, it is damaged, or it is of another training.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TrainingError(f"{path}: there is no interrupted training here; leave out --resume") from None
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(f"{path}: the checkpoint is damaged ({reason}); leave out --resume") from None
    if not isinstance(state, dict) or state.get("version") != _VERSION:
        raise TrainingError(f"{path}: another version of cl-ast wrote this checkpoint; leave out --resume")
    different = [name for name, value in training.items() if state["training"].get(name) != value]
    if different:
        raise TrainingError(
            f"{path}: the interrupted training differs in {', '.join(different)}; give the same, or leave out --resume"
        )
    return Checkpoint(**{field.name: state[field.name] for field in fields(Checkpoint)})


def identity(options: Options, *clips: Clips) -> dict[str, Any]:
    """Return what a training must have in common with the one that it resumes: its options and its clips."""
    digest = hashlib.sha256()
    for each in clips:
        digest.update(each.table.tobytes())
        digest.update(each.prosody.tobytes())
    return {**asdict(options), "clips": digest.hexdigest()}
