"""Trains and tests the cells of a grid in one process. Nothing is kept in a registry."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

import streams
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.device import pick_device
from cl_ast.backbone.pretrained import load as load_backbone
from cl_ast.errors import ClAstError
from cl_ast.experiments.grid import Cell, Grid, Line
from cl_ast.progress import Progress, silent
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.cached_states import CachedStates, SplitForward
from cl_ast.training.clips import ClipSet, labelled
from cl_ast.training.options import Hyperparameters
from cl_ast.training.recipes import recipe_for
from cl_ast.training.trainer import outputs, train


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a cell, or an error.

    Attributes:
        validation: the best epoch's accuracy on validation clips.
        seconds: the time of training, without the reading of clips.
        right: whether each test clip was right, in the order of the task.
        error: why it could not be trained, or empty.
    """

    validation: float = 0.0
    seconds: float = 0.0
    right: tuple[bool, ...] = ()
    error: str = ""

    @property
    def accuracy(self) -> float:
        """The share of test clips that were right."""
        return float(np.mean(self.right))


def completed(grid: Grid, cell: Cell, backbone: Backbone) -> tuple[Hyperparameters, str]:
    """Return the options and the pooling of a cell, with nothing left open."""
    recipe = recipe_for(grid.tasks[cell.task][cell.fold].source.task, backbone)
    options = recipe.complete(replace(grid.options, seed=cell.seed), cell.method)
    return options, grid.pooling or recipe.pooling


def training_of(grid: Grid, line: Line, backbone: Backbone) -> dict[str, Any]:
    """Return the options of every training of a line but the seed."""
    options, pooling = completed(grid, next(grid.cells_of(line)), backbone)
    used = {**asdict(options), "pooling": pooling, "positions": grid.positions}
    del used["seed"]
    return used


class CellTrainer:
    """Trains cells of one grid in one process, which reads the clips of a fold for its first cell.

    Validation clips choose the epoch; test clips choose nothing.
    """

    def __init__(
        self, grid: Grid, backbone: Backbone | str, *, device: str = "auto", progress: Progress = silent
    ) -> None:
        """
        Args:
            backbone: itself, or its name for another process, which loads it.
        """
        self._grid = grid
        self._backbone = backbone
        self._device = device
        self._progress = progress
        self._place: tuple[str, str] | None = None  # the task and fold that the clips are of
        self._tested: dict[str, ClipSet] = {}
        self._training: dict[tuple[int | None, int], ClipSet] = {}

    def __call__(self, cell: Cell) -> Outcome:
        """Train and test a cell; one that fails has an error, so that the others go on."""
        try:
            return self._outcome(cell)
        except ClAstError as error:
            return Outcome(error=str(error))

    def _outcome(self, cell: Cell) -> Outcome:
        backbone = self._loaded()
        task = self._grid.tasks[cell.task][cell.fold]
        options, pooling = completed(self._grid, cell, backbone)
        self._turn_to(cell, task, backbone)
        training = self._training_clips(cell, task, backbone)
        settings = TaskSettings(
            task.name, cell.method, task.labels, training.front_end, pooling, self._grid.positions
        )  # fmt: skip
        model = TaskModel.fresh(settings, backbone, torch.Generator().manual_seed(cell.seed))
        trained = train(model, training, self._tested["validation"], options, self._progress)
        states = CachedStates(self._tested["test"], SplitForward(model, options.precision))
        if states.forward.dtype == torch.float32:  # in half precision, test clips would not be as predictions are
            states.load("running the frozen layers over test clips", self._progress)
        logits, targets = outputs(states)
        right = (logits.argmax(dim=-1) == targets).tolist()
        return Outcome(trained.accuracy, trained.seconds, tuple(right))

    def _loaded(self) -> Backbone:
        if isinstance(self._backbone, str):
            self._backbone = load_backbone(self._backbone, device=pick_device(self._device))
        return self._backbone

    def _turn_to(self, cell: Cell, task: streams.Task, backbone: Backbone) -> None:
        """Read the clips that all cells of a task and fold share, in place of those of the fold before."""
        if self._place == (cell.task, cell.fold):
            return
        self._place, self._tested, self._training = None, {}, {}
        crop = self._grid.options.one_stretch
        found = {
            name: self._set(clips, task, backbone, crop)
            for name, clips in (("validation", task.validation), ("test", task.test))
        }
        found["test"].load("reading test clips", self._progress)
        self._place, self._tested = (cell.task, cell.fold), found

    def _training_clips(self, cell: Cell, task: streams.Task, backbone: Backbone) -> ClipSet:
        """Return the training clips of a cell: of few clips per class, each seed draws its own."""
        drawn_by = None if cell.few_shot is None or self._grid.first_clips else cell.seed
        key = cell.few_shot, drawn_by or 0
        if key not in self._training:
            if cell.few_shot is not None:
                task = streams.few_shot(task, cell.few_shot, drawn_by)
            self._training[key] = self._set(task.train, task, backbone, self._grid.options.crop)
        return self._training[key]

    def _set(self, clips: Sequence[streams.Clip], task: streams.Task, backbone: Backbone, crop: str) -> ClipSet:
        return labelled(clips, task.labels, backbone.front_end(task.clip_seconds), backbone.device, crop=crop)
