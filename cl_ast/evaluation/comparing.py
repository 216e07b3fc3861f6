"""Compares several methods on one task, over one backbone, by the same recipe. Nothing is kept in a registry."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

import streams
from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.spec import MethodSpec, cost, owned, parse
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import TrainingError
from cl_ast.progress import Progress, silent
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.clips import ClipSet, labelled
from cl_ast.training.options import TrainOptions
from cl_ast.training.recipes import recipe_for
from cl_ast.training.trainer import accuracy_of, train


@dataclass(frozen=True, slots=True)
class Compared:
    """The result of one method on the task.

    Attributes:
        bytes: the size of the task's file, without its header.
        accuracies: on test clips, one a seed.
        validation: the mean of the best epochs' accuracy on validation clips.
        seconds: the mean time of training, without the reading of clips.
        error: why it could not be trained, or empty.
        training: the options of every training but the seed.
    """

    method: str
    family: str
    trainable_parameters: int
    bytes: int
    accuracies: tuple[float, ...]
    validation: float | None
    seconds: float | None
    error: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def accuracy(self) -> float | None:
        """The mean of the seeds."""
        return statistics.mean(self.accuracies) if self.accuracies else None

    @property
    def spread(self) -> float | None:
        """The standard deviation over the seeds (of a sample), from two on."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def to_json(self) -> dict[str, Any]:
        """Return the object that `cl-ast compare --format json` prints."""
        return {**asdict(self), "accuracy": self.accuracy, "spread": self.spread}


@dataclass(frozen=True, slots=True)
class _Bench:
    """What all trainings of a comparison share."""

    task: streams.Task
    backbone: Backbone
    options: TrainOptions
    pooling: str
    positions: str
    training: ClipSet
    validation: ClipSet
    test: ClipSet
    progress: Progress


@dataclass(frozen=True, slots=True)
class _Run:
    """One training: accuracy on test and on validation clips, its time, and its options."""

    accuracy: float
    validation: float
    seconds: float
    options: Mapping[str, Any]


def usual_methods(task: streams.Task, backbone: Backbone, methods: Mapping[str, Method] = METHODS) -> list[MethodSpec]:
    """Return every row of the table but full fine-tuning; the recipe's own method is written as the recipe has it."""
    usual = recipe_for(task.source.task, backbone).method
    rows = [name for name, row in methods.items() if row.trains != "backbone"]
    return [parse(usual if name == usual.partition(":")[0] else name, methods) for name in rows]


def compare(
    task: streams.Task,
    backbone: Backbone,
    methods: Sequence[MethodSpec],
    options: TrainOptions | None = None,
    *,
    seeds: int = 1,
    pooling: str | None = None,
    positions: str = "resize",
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Compared]:
    """Train every method from `seeds` starts and test it; yield each in the order given, when it is done.

    Clips are read once. A method whose training fails is yielded with its error, and the others go on. Validation clips
    choose the epoch; test clips choose nothing.

    Args:
        options, pooling: of every training; what they leave open is decided by the task's recipe, and the learning rate
            by each method. `options.seed` is the first of the seeds.
        say: called with a line about each training that is done.

    Raises:
        MethodError: a method does not fit the backbone; nothing is trained then.
        AudioError: a clip cannot be read.
    """
    for spec in methods:
        owned(spec, backbone.shape)
    front_end = backbone.front_end(task.clip_seconds)
    chosen = options or TrainOptions()
    training, validation, test = (
        labelled(clips, task.labels, front_end, backbone.device, crop=crop)
        for clips, crop in (
            (task.train, chosen.crop),
            (task.validation, chosen.one_stretch),
            (task.test, chosen.one_stretch),
        )
    )
    pooling = pooling or recipe_for(task.source.task, backbone).pooling
    bench = _Bench(task, backbone, chosen, pooling, positions, training, validation, test, progress)
    return _each(bench, methods, seeds, say)


def _each(bench: _Bench, methods: Sequence[MethodSpec], seeds: int, say: Callable[[str], None]) -> Iterator[Compared]:
    bench.test.load("reading test clips", bench.progress)
    for spec in methods:
        runs = []
        error = ""
        for seed in range(bench.options.seed, bench.options.seed + seeds):
            try:
                runs.append(_run(bench, spec, seed))
            except TrainingError as failure:
                error = str(failure)
                say(f"{spec}: {error}")
                break
            say(f"{spec}, seed {seed}: {runs[-1].accuracy:.1%} in {runs[-1].seconds:.1f} s")
        yield _compared(spec, bench, runs, error)


def _run(bench: _Bench, spec: MethodSpec, seed: int) -> _Run:
    front_end = bench.training.front_end
    settings = TaskSettings(bench.task.name, spec, bench.task.labels, front_end, bench.pooling, bench.positions)
    model = TaskModel.fresh(settings, bench.backbone, torch.Generator().manual_seed(seed))
    recipe = recipe_for(bench.task.source.task, bench.backbone)
    options = recipe.complete(replace(bench.options, seed=seed), spec)
    trained = train(model, bench.training, bench.validation, options, bench.progress)
    accuracy, _ = accuracy_of(model, bench.test, options.precision)
    used = {**asdict(options), "pooling": bench.pooling, "positions": bench.positions}
    del used["seed"]
    return _Run(accuracy, trained.accuracy, trained.seconds, used)


def _compared(spec: MethodSpec, bench: _Bench, runs: Sequence[_Run], error: str) -> Compared:
    price = cost(
        spec,
        bench.backbone.shape,
        classes=len(bench.task.labels),
        backbone_parameters=bench.backbone.parameters,
        pooling=bench.pooling,
    )
    return Compared(
        method=spec.text,
        family=spec.family,
        trainable_parameters=price.trainable_parameters,
        bytes=price.bytes,
        accuracies=tuple(run.accuracy for run in runs),
        validation=statistics.mean(run.validation for run in runs) if runs else None,
        seconds=statistics.mean(run.seconds for run in runs) if runs else None,
        error=error,
        training=runs[0].options if runs else {},
    )
