"""Several methods on one task, over one backbone, by the same recipe: accuracy, parameters and time. Keeps nothing."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

import streams
from cl_ast.adapters.spec import MethodSpec, cost, owned
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import TrainingError
from cl_ast.progress import Progress, silent
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.clips import labelled
from cl_ast.training.trainer import TrainOptions, accuracy_of, train


@dataclass(frozen=True, slots=True)
class Compared:
    """What a method came to on the task.

    Attributes:
        bytes: of the task's file, without its header.
        accuracies: on test clips, a seed each.
        validation: the mean of the best epochs' accuracy on validation clips.
        seconds: of training, the mean of the seeds; reading of clips aside.
        error: why it could not be trained, or empty.
    """

    method: str
    family: str
    trainable_parameters: int
    bytes: int
    accuracies: tuple[float, ...]
    validation: float | None
    seconds: float | None
    error: str = ""

    @property
    def accuracy(self) -> float | None:
        """The mean of the seeds."""
        return statistics.mean(self.accuracies) if self.accuracies else None

    @property
    def spread(self) -> float | None:
        """The standard deviation of the seeds (of the sample), from two on."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "accuracy": self.accuracy, "spread": self.spread}


def compare(
    task: streams.Task,
    backbone: Backbone,
    methods: Sequence[MethodSpec],
    options: TrainOptions | None = None,
    *,
    seeds: int = 1,
    pooling: str = "mean",
    positions: str = "resize",
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Compared]:
    """Train every method from `seeds` starts, and test it; in the order given, each told when it is done.

    Clips are read once. A method whose training fails is reported as such, and the others go on. Validation clips
    choose the epoch; test clips choose nothing.

    Args:
        options: of every training; `seed` is the first of the seeds. The learning rate is the method's own unless set.
        say: told of each training that is done.

    Raises:
        MethodError: a method does not fit the backbone; nothing is trained then.
        AudioError: a clip cannot be read.
    """
    for spec in methods:
        owned(spec, backbone.shape)
    return _each(task, backbone, methods, options or TrainOptions(), seeds, pooling, positions, progress, say)


def _each(
    task: streams.Task,
    backbone: Backbone,
    methods: Sequence[MethodSpec],
    options: TrainOptions,
    seeds: int,
    pooling: str,
    positions: str,
    progress: Progress,
    say: Callable[[str], None],
) -> Iterator[Compared]:
    front_end = backbone.front_end(task.clip_seconds)
    training, validation, test = (
        labelled(clips, task.labels, front_end, backbone.device) for clips in (task.train, task.validation, task.test)
    )
    test.load("reading test clips", progress)

    def one(spec: MethodSpec, seed: int) -> tuple[float, float, float]:
        """Accuracy on test and on validation, and seconds."""
        settings = TaskSettings(task.name, spec, task.labels, front_end, pooling, positions)
        model = TaskModel.fresh(settings, backbone, torch.Generator().manual_seed(seed))
        trained = train(model, training, validation, replace(options, seed=seed), progress)
        accuracy, _ = accuracy_of(model, test, options.precision)
        return accuracy, trained.accuracy, trained.seconds

    for spec in methods:
        runs = []
        error = ""
        for seed in range(options.seed, options.seed + seeds):
            try:
                runs.append(one(spec, seed))
            except TrainingError as failure:
                error = str(failure)
                say(f"{spec}: {error}")
                break
            say(f"{spec}, seed {seed}: {runs[-1][0]:.1%} in {runs[-1][2]:.1f} s")
        yield _compared(spec, task, backbone, pooling, runs, error)


def _compared(
    spec: MethodSpec,
    task: streams.Task,
    backbone: Backbone,
    pooling: str,
    runs: Sequence[tuple[float, float, float]],
    error: str,
) -> Compared:
    classes = len(task.labels)
    price = cost(spec, backbone.shape, classes=classes, backbone_parameters=backbone.parameters, pooling=pooling)
    accuracies, validations, seconds = zip(*runs, strict=True) if runs else ((), (), ())
    return Compared(
        method=spec.text,
        family=spec.family,
        trainable_parameters=price.trainable_parameters,
        bytes=price.bytes,
        accuracies=tuple(accuracies),
        validation=statistics.mean(validations) if runs else None,
        seconds=statistics.mean(seconds) if runs else None,
        error=error,
    )
