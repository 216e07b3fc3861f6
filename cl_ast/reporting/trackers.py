"""Writes what was learned to an experiment tracker: the learning curve of a task, and the retention matrix so far.

A tracker gets one run a version. It is written when the task is committed, so that a tracker that is not reachable
never costs a training.
"""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, Protocol

from cl_ast.continual.add_task import Learned
from cl_ast.errors import ClAstError

TRACKERS = ("tensorboard", "mlflow", "wandb")
_PROJECT = "cl-ast"
_POINTS = ("loss", "accuracy", "validation_loss", "validation_accuracy")  # of an epoch, in the record of a training
_SETTINGS = ("seed", "epochs", "batch_size", "learning_rate", "weight_decay", "best_epoch", "train_clips", "pooling")
_AVERAGES = ("average_accuracy", "average_mAP", "forgetting")


class _Run(Protocol):
    """One run of a tracker."""

    def settings(self, values: Mapping[str, object]) -> None:
        """Write what the version was learned with."""

    def point(self, values: Mapping[str, float], step: int) -> None:
        """Write measured values at a step: the epoch, or how many tasks the registry has."""

    def end(self) -> None:
        """Finish the run."""


def check_installed(tracker: str) -> None:
    """Raise ClAstError if there is no tracker of that name, or it is not installed; to be called before a training."""
    if tracker not in TRACKERS:
        raise ClAstError(f"no tracker called {tracker!r}; there are {', '.join(TRACKERS)}")
    if find_spec(tracker) is None:
        raise ClAstError(f"writing to {tracker} needs it: pip install 'cl-ast[{tracker}]'")


def track(tracker: str, learned: Learned, report: Mapping[str, Any]) -> None:
    """Write a task that was learned to a tracker, as one run.

    tensorboard gets a folder in `runs/`. mlflow and wandb read where they write from their own environment variables,
    such as MLFLOW_TRACKING_URI and WANDB_MODE.

    Args:
        report: the registry's statistics after the task, as `Manager.stats` returns them.

    Raises:
        ClAstError: the tracker is not installed, or cannot be written to; the task is committed all the same.
    """
    check_installed(tracker)
    try:
        run = _OPENED[tracker](f"{learned.task.name}-{learned.task.version.number}")
        try:
            _write(run, learned, report)
        finally:
            run.end()  # mlflow starts no other run while one is open
    except Exception as error:  # a tracker raises errors of its own, of its server and of the network
        raise ClAstError(
            f"{learned.task.name} is learned, but {tracker} cannot be written to: {type(error).__name__}: {error}"
        ) from error


def _write(run: _Run, learned: Learned, report: Mapping[str, Any]) -> None:
    version = learned.task.version
    record: Mapping[str, Any] = version.training
    facts = {"task": learned.task.name, "method": version.method, "parameters": version.trainable_parameters}
    run.settings({**facts, **{name: record[name] for name in _SETTINGS if name in record}})
    for epoch in record.get("curve") or []:
        run.point({f"training/{name}": epoch[name] for name in _POINTS if epoch[name] is not None}, epoch["epoch"])
    run.point(_retention(learned, report), len(report["tasks"]))


def _retention(learned: Learned, report: Mapping[str, Any]) -> dict[str, float]:
    """Return the row of the retention matrix that this task added, and the averages over tasks."""
    by_name = {f"by name/{one.task}": one.oracle for one in learned.measured}
    routed = {f"routed/{one.task}": one.auto for one in learned.measured if one.auto is not None}
    averages = {
        f"{metric}{of}/{words}": value
        for kind, of in (("metrics", ""), ("tag_metrics", " of tags"))
        for mode, words in (("oracle", "by name"), ("auto", "routed"))
        for metric, value in report.get(kind, {}).get(mode, {}).items()
        if value is not None and metric in _AVERAGES
    }
    return {**by_name, **routed, **averages}


class _Tensorboard:
    def __init__(self, name: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(f"runs/{name}")

    def settings(self, values: Mapping[str, object]) -> None:
        self._writer.add_text("settings", "\n".join(f"    {name}: {value}" for name, value in values.items()))

    def point(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def end(self) -> None:
        self._writer.close()


class _Mlflow:
    def __init__(self, name: str) -> None:
        import mlflow

        self._mlflow: Any = mlflow
        mlflow.set_experiment(_PROJECT)
        mlflow.start_run(run_name=name)

    def settings(self, values: Mapping[str, object]) -> None:
        self._mlflow.log_params(dict(values))

    def point(self, values: Mapping[str, float], step: int) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def end(self) -> None:
        self._mlflow.end_run()


class _Wandb:
    def __init__(self, name: str) -> None:
        import wandb

        self._run: Any = wandb.init(project=_PROJECT, name=name)

    def settings(self, values: Mapping[str, object]) -> None:
        self._run.config.update(dict(values))

    def point(self, values: Mapping[str, float], step: int) -> None:
        # wandb takes steps in rising order only, so the retention comes after the epochs, with its own count of tasks.
        kind = "epoch" if any(name.startswith("training/") for name in values) else "tasks"
        self._run.log({**values, kind: step})

    def end(self) -> None:
        self._run.finish()


_OPENED: Mapping[str, Callable[[str], _Run]] = {"tensorboard": _Tensorboard, "mlflow": _Mlflow, "wandb": _Wandb}
