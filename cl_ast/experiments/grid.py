"""Says which trainings a grid has: one for every task, fold, method, number of training clips and seed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import streams
from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.spec import MethodSpec, parse
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import StreamError
from cl_ast.training.options import TrainOptions
from cl_ast.training.recipes import recipe_for
from streams.task import refuse_tags

Tasks = Mapping[str, Mapping[str, streams.Task]]
"""The tasks of a grid by their names, each with its folds: the task that tests on a fold, by the name of the fold."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """An option that every method has in several values, such as the width r of a bottleneck."""

    option: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """A method of a grid, as it is named once for all tasks.

    Attributes:
        word: the name, such as "conformer"; the values of a sweep share one.
        value: of the swept option; None without a sweep.
        specs: what is trained for each task, by the name of the task.
    """

    word: str
    value: float | None
    specs: Mapping[str, MethodSpec]


@dataclass(frozen=True, slots=True)
class Cell:
    """One training of a grid.

    Attributes:
        few_shot: training clips per class; None for all.
    """

    task: str
    fold: str
    method: MethodSpec
    few_shot: int | None
    seed: int


@dataclass(frozen=True, slots=True)
class Line:
    """What one line of a table is about: a method on a task. Its cells differ in fold and seed."""

    task: str
    variant: Variant
    few_shot: int | None


@dataclass(frozen=True, slots=True)
class Grid:
    """All trainings of a comparison.

    Attributes:
        few_shot: how many training clips per class; None for all.
        seeds: of the trainings. With `few_shot`, each draws its own clips.
        first_clips: whether `few_shot` takes the first clips by their paths instead.
        options, pooling, positions: of every training; what they leave open is decided by the task's recipe, and the
            learning rate by each method.
        sweep: what the values of the variants are of.
    """

    tasks: Tasks
    variants: Sequence[Variant]
    seeds: Sequence[int] = (0,)
    few_shot: Sequence[int | None] = (None,)
    first_clips: bool = False
    options: TrainOptions = field(default_factory=TrainOptions)
    pooling: str | None = None
    positions: str = "resize"
    sweep: Sweep | None = None

    def lines(self) -> Iterator[Line]:
        """Yield the lines of the tables, task by task."""
        for task in self.tasks:
            for variant in self.variants:
                for few_shot in self.few_shot:
                    yield Line(task, variant, few_shot)

    def cells_of(self, line: Line) -> Iterator[Cell]:
        """Yield the trainings of a line, fold by fold."""
        for fold in self.tasks[line.task]:
            for seed in self.seeds:
                yield Cell(line.task, fold, line.variant.specs[line.task], line.few_shot, seed)

    def cells(self) -> list[Cell]:
        """Return all trainings, those on the same clips after each other."""
        found = (
            Cell(task, fold, variant.specs[task], few_shot, seed)
            for task, folds in self.tasks.items()
            for fold in folds
            for variant in self.variants
            for few_shot in self.few_shot
            for seed in self.seeds
        )
        return list(dict.fromkeys(found))  # two names may mean the same method

    def settings_of(self, cell: Cell) -> str:
        """Return what a training has that is not the default, as `name=value` with spaces between them."""
        usual = TrainOptions(seed=self.options.seed)
        given = {one.name: getattr(self.options, one.name) for one in fields(TrainOptions)}
        found = {name: value for name, value in given.items() if value != getattr(usual, name)}
        if self.pooling is not None:
            found["pooling"] = self.pooling
        if self.positions != "resize":
            found["positions"] = self.positions
        if self.first_clips and cell.few_shot is not None:
            found["clips"] = "first"
        longest = self.tasks[cell.task][cell.fold].source.max_seconds
        if longest is not None:
            found["max_seconds"] = longest
        return " ".join(f"{name}={value}" for name, value in found.items())


def by_fold(task: streams.Task, wanted: str | None = None) -> dict[str, streams.Task]:
    """Return the task for each fold that tests, by the name of the fold.

    Args:
        wanted: "all" for every fold, or names with commas between them. None keeps the task as it was loaded, and so
            does "all" where the data have no folds.

    Raises:
        StreamError: there is no such fold.
    """
    if wanted is None:
        return {task.source.fold or "": task}
    names = streams.folds(task) if wanted == "all" else [name.strip() for name in wanted.split(",")]
    if not names:
        return {"": task}
    return {name: streams.reload(replace(task.source, fold=name)) for name in names}


def tasks_by_name(tasks: Sequence[streams.Task], folds: str | None = None) -> dict[str, dict[str, streams.Task]]:
    """Return the tasks of a grid, each with the folds that `by_fold` returns.

    Raises:
        StreamError: two have the same name, there is no such fold, or clips have several labels.
    """
    refuse_tags(tasks, "a grid of trainings")
    found: dict[str, dict[str, streams.Task]] = {}
    for task in tasks:
        if task.name in found:
            raise StreamError(f"two tasks are called {task.name}; rename the folder {task.source.data}")
        found[task.name] = by_fold(task, folds)
    return found


def variants_of(
    words: Sequence[str],
    tasks: Tasks,
    backbone: Backbone,
    methods: Mapping[str, Method] = METHODS,
    *,
    sweep: Sweep | None = None,
    from_layer: int | None = None,
) -> list[Variant]:
    """Return the methods of a grid as they are named, in each value of the swept option.

    Args:
        words: methods as `--method` takes them. What a word leaves open is as the recipe of each task has it, so that
            `conformer` has a kernel of 8 on sounds and of 31 on speech. None at all are the whole table but `full` and
            what reads a shared part.
        from_layer: the lowest layer of methods that have adapters; the others stay beside them.

    Raises:
        MethodError: there is no such method, or a method lacks the option.
    """
    words = words or [
        name for name, row in methods.items() if row.trains != "backbone" and not parse(name, methods).acts_as
    ]
    recipes = {name: recipe_for(_any(folds).source.task, backbone) for name, folds in tasks.items()}

    def variant(word: str, value: float | None) -> Variant:
        full = word
        if sweep is not None and value is not None:
            full = f"{word}{',' if ':' in word else ':'}{sweep.option}={value:g}"
        specs = {name: recipe.spec(full, methods) for name, recipe in recipes.items()}
        if from_layer is not None:
            specs = {name: _from(spec, from_layer, methods) for name, spec in specs.items()}
        return Variant(word, value, specs)

    values = sweep.values if sweep is not None else (None,)
    return [variant(word, value) for word in dict.fromkeys(words) for value in values]


def _from(spec: MethodSpec, layer: int, methods: Mapping[str, Method]) -> MethodSpec:
    return parse(spec.text, methods, from_layer=layer) if spec.placements else spec


def _any(folds: Mapping[str, streams.Task]) -> streams.Task:
    return next(iter(folds.values()))
