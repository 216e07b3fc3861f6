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
from cl_ast.backbone.device import pick_device
from cl_ast.backbone.pretrained import load as load_backbone
from cl_ast.errors import TrainingError
from cl_ast.progress import Progress, silent
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.clips import ClipSet, labelled
from cl_ast.training.engine import Engine
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
class Cell:
    """One training of a comparison."""

    method: MethodSpec
    seed: int


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a cell: accuracy on test and on validation clips, the time, and the options; or an error."""

    accuracy: float = 0.0
    validation: float = 0.0
    seconds: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


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
    engine: Engine | None = None,
    device: str = "auto",
) -> Iterator[Compared]:
    """Train every method from `seeds` starts and test it; yield each in the order given, when it is done.

    A few-shot task has other training clips with each seed, so that their choice is part of the spread. Each process
    reads the clips once. A method whose training fails is yielded with its error, and the others go on. Validation
    clips choose the epoch; test clips choose nothing.

    Args:
        options, pooling: of every training; what they leave open is decided by the task's recipe, and the learning rate
            by each method. `options.seed` is the first of the seeds.
        say: called with a line about each training that is done.
        engine: trains the cells, perhaps several at once; None trains them one by one on `backbone`.
        device: of the engine's processes, which load the backbone by its name.

    Raises:
        MethodError: a method does not fit the backbone; nothing is trained then.
        AudioError: a clip cannot be read.
    """
    for spec in methods:
        owned(spec, backbone.shape)
    pooling = pooling or recipe_for(task.source.task, backbone).pooling
    chosen = options or TrainOptions()
    numbers = range(chosen.seed, chosen.seed + seeds)
    cells = [Cell(spec, seed) for spec in methods for seed in numbers]
    runs: Iterator[Run]
    if engine is None:
        runs = map(CellTrainer(task, backbone, chosen, pooling, positions, progress=progress), cells)
    else:
        trainer = CellTrainer(task, backbone.name, chosen, pooling, positions, device=device)
        runs = engine.map(trainer, cells, progress)
    return (_compared(task, backbone, pooling, spec, _finished(spec, numbers, runs, say)) for spec in methods)


def _finished(spec: MethodSpec, seeds: Sequence[int], runs: Iterator[Run], say: Callable[[str], None]) -> list[Run]:
    """Return the trainings of one method, with a failed one at the end; those after it are left out."""
    found: list[Run] = []
    for seed in seeds:
        run = next(runs)
        if found and found[-1].error:
            continue
        found.append(run)
        say(f"{spec}: {run.error}" if run.error else f"{spec}, seed {seed}: {run.accuracy:.1%} in {run.seconds:.1f} s")
    return found


class CellTrainer:
    """Trains cells of one comparison in one process, which reads the clips for the first cell."""

    def __init__(
        self,
        task: streams.Task,
        backbone: Backbone | str,
        options: TrainOptions,
        pooling: str,
        positions: str,
        *,
        device: str = "auto",
        progress: Progress = silent,
    ) -> None:
        """
        Args:
            backbone: itself, or its name for another process, which loads it.
        """
        self._task = task
        self._backbone = backbone
        self._options = options
        self._pooling = pooling
        self._positions = positions
        self._device = device
        self._progress = progress
        self._tested: tuple[ClipSet, ClipSet] | None = None  # validation and test clips
        self._training: dict[int, ClipSet] = {}  # by seed, of a few-shot task; else one for all
        self._failed: dict[str, tuple[int, str]] = {}  # by method: the seed with which it failed, and the error

    def __call__(self, cell: Cell) -> Run:
        """Train and test a cell. Where its method has failed with an earlier seed, it is not trained."""
        failed_with, reason = self._failed.get(cell.method.text, (cell.seed, ""))
        if failed_with < cell.seed:
            return Run(error=reason)
        try:
            return self._run(cell)
        except TrainingError as error:
            self._failed[cell.method.text] = cell.seed, str(error)
            return Run(error=str(error))

    def _run(self, cell: Cell) -> Run:
        backbone, (validation, test) = self._prepared()
        training = self._training_clips(backbone, cell.seed)
        settings = TaskSettings(
            self._task.name, cell.method, self._task.labels, training.front_end, self._pooling, self._positions
        )
        model = TaskModel.fresh(settings, backbone, torch.Generator().manual_seed(cell.seed))
        recipe = recipe_for(self._task.source.task, backbone)
        options = recipe.complete(replace(self._options, seed=cell.seed), cell.method)
        trained = train(model, training, validation, options, self._progress)
        accuracy, _ = accuracy_of(model, test, options.precision)
        used = {**asdict(options), "pooling": self._pooling, "positions": self._positions}
        del used["seed"]
        return Run(accuracy, trained.accuracy, trained.seconds, used)

    def _prepared(self) -> tuple[Backbone, tuple[ClipSet, ClipSet]]:
        """Return the backbone, validation clips and test clips; the first call loads and reads them."""
        if isinstance(self._backbone, str):
            self._backbone = load_backbone(self._backbone, device=pick_device(self._device))
        if self._tested is None:
            crop, task = self._options.one_stretch, self._task
            validation, test = (self._set(clips, self._backbone, crop) for clips in (task.validation, task.test))
            test.load("reading test clips", self._progress)
            self._tested = validation, test
        return self._backbone, self._tested

    def _training_clips(self, backbone: Backbone, seed: int) -> ClipSet:
        """Return the training clips of a seed: of a few-shot task, each seed draws its own."""
        key = 0 if self._task.source.few_shot is None else seed
        if key not in self._training:
            train = streams.redraw(self._task, seed).train
            self._training[key] = self._set(train, backbone, self._options.crop)
        return self._training[key]

    def _set(self, clips: Sequence[streams.Clip], backbone: Backbone, crop: str) -> ClipSet:
        front_end = backbone.front_end(self._task.clip_seconds)
        return labelled(clips, self._task.labels, front_end, backbone.device, crop=crop)


def _compared(
    task: streams.Task, backbone: Backbone, pooling: str, spec: MethodSpec, finished: Sequence[Run]
) -> Compared:
    runs = [run for run in finished if not run.error]
    price = cost(
        spec,
        backbone.shape,
        classes=len(task.labels),
        backbone_parameters=backbone.parameters,
        pooling=pooling,
    )
    return Compared(
        method=spec.text,
        family=spec.family,
        trainable_parameters=price.trainable_parameters,
        bytes=price.bytes,
        accuracies=tuple(run.accuracy for run in runs),
        validation=statistics.mean(run.validation for run in runs) if runs else None,
        seconds=statistics.mean(run.seconds for run in runs) if runs else None,
        error="".join(run.error for run in finished),
        training=runs[0].options if runs else {},
    )
