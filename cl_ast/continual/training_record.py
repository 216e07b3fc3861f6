"""How a version was trained, as the registry and the task's file keep it, and back to options."""

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import streams
from cl_ast.continual.learn_routing import LearnedRouting
from cl_ast.continual.routing_clips import RoutingClips
from cl_ast.errors import TrainingError
from cl_ast.router import ALPHA
from cl_ast.tasks.kind_names import recorded
from cl_ast.tasks.length import KEY
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.options import Hyperparameters, TrainOptions, words_in
from cl_ast.training.trainer import Trained

_MOST_EPOCHS = 500  # of a learning curve: a record has at most 256 kB


def training_record(
    model: TaskModel,
    options: Hyperparameters,
    trained: Trained,
    routing: Mapping[str, Any] | None,
    store: str,
    clips: Mapping[str, int],
    *,
    calibrated: bool,
) -> dict[str, Any]:
    """Return the whole training as JSON: its options, its best epoch, its learning curve and its `routing_record`.

    Args:
        clips: how many there were in each split.
        calibrated: whether a temperature was fitted.
    """
    return {
        **asdict(options),
        **{f"{split}_clips": count for split, count in clips.items()},
        "temperature": model.settings.temperature if calibrated else None,
        KEY: model.settings.front_end.seconds,
        **recorded(model.settings.kind),
        "pooling": model.settings.pooling,
        "positions": model.settings.positions,
        "store": store,
        "device": str(model.backbone.device),
        "best_epoch": trained.epoch,
        "stopped": trained.stopped,
        "validation_accuracy": trained.accuracy,
        "validation_loss": trained.loss,
        "curve": _curve(trained),
        "routing": routing,
    }


def clip_counts(task: streams.Task) -> dict[str, int]:
    """Return how many clips of a task there are in each split."""
    return {"train": len(task.train), "validation": len(task.validation), "test": len(task.test)}


def _curve(trained: Trained) -> list[dict[str, float | None]]:
    """Return the scores of every epoch; of a very long training some hundred, with the best and the last."""
    step = -(-len(trained.curve) // _MOST_EPOCHS) or 1
    wanted = {trained.epoch, trained.curve[-1].epoch} if trained.curve else set()
    shown = [one for place, one in enumerate(trained.curve) if place % step == 0 or one.epoch in wanted]
    return [{name: _finite(value) for name, value in one._asdict().items()} for one in shown]


def _finite(value: float | None) -> float | None:
    """Return a number as JSON can hold it: a loss that was once infinite is no reason to lose a training."""
    return value if value is None or math.isfinite(value) else None


def routing_record(learned: LearnedRouting | None, clips: RoutingClips) -> dict[str, Any] | None:
    """Return which router the routing is for, which description of clips it was learned from, and from which clips.

    Negatives and a limit for "unknown" are in it where there are some. It is None for a task without routing, which
    answers by name only.
    """
    if learned is None:
        return None
    routing, used = learned.routing, learned.negatives
    record = {"router": routing.kind, "descriptions": routing.description_id.hex(), "clips": clips.used}
    record |= {} if clips.folder is None else {"folder": str(clips.folder)}
    if used is not None:
        record["negatives"] = {"folder": str(used.folder), "pieces": used.pieces, "unknown": used.unknown}
    return with_alpha(record, routing.alpha)


def with_alpha(record: Mapping[str, Any], alpha: float) -> dict[str, Any]:
    """Return the `routing_record` with another limit for "unknown"; the usual one is left out."""
    rest = {key: value for key, value in record.items() if key != "alpha"}
    return rest if alpha == ALPHA else {**rest, "alpha": alpha}


def recorded_options(record: Mapping[str, Any], *, keep_rate: bool, keep_masks: bool) -> TrainOptions:
    """Return the options of a training record; what it does not say is left open.

    Args:
        keep_rate: whether the learning rate still fits the method.
        keep_masks: whether SpecAugment's masks still fit the backbone, and gain, which one for samples may not have.

    Raises:
        TrainingError: a value is none that can be used.
    """
    left_out = set() if keep_rate else {"learning_rate"}
    left_out |= set() if keep_masks else {"frequency_mask", "time_mask"}
    given = {one.name: record[one.name] for one in fields(TrainOptions) if one.name in record}
    if isinstance(given.get("compile"), bool):  # in records of release 0.1
        given["compile"] = "on" if given["compile"] else "auto"
    if not keep_masks and "augment" in given:
        given["augment"] = ",".join(words_in(str(given["augment"])) - {"gain"}) or "none"
    given.setdefault("crop", "start")  # which releases that recorded none took
    try:
        return TrainOptions(**{name: value for name, value in given.items() if name not in left_out})
    except TypeError as error:
        raise TrainingError(f"the recorded training has an option that cannot be used ({error})") from None
