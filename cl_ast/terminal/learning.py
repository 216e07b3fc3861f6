"""The options that `add-task` and `stream` share, and what they do with them. Imports only click by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import streams
    from cl_ast.manager import Learned, Manager
    from cl_ast.terminal.rendering.progress import Watch
    from cl_ast.training.recipes import Recipe
    from cl_ast.training.trainer import TrainOptions


@dataclass(frozen=True)
class LearnOptions:
    """How to learn a task, as asked for; None takes the data set's recipe or the method's own."""

    method: str | None
    from_layer: int | None
    backbone: str | None
    epochs: int | None
    batch_size: int | None
    lr: float | None
    weight_decay: float
    beta1: float
    beta2: float
    epsilon: float
    freq_mask: int | None
    time_mask: int | None
    precision: str
    head: str
    compile: bool
    pooling: str | None
    positions: str
    fold: str | None
    split_by: str
    few_shot: int | None
    max_seconds: float | None
    seed: int
    store: str
    replace: bool
    resume: bool
    no_eval: bool
    router: str | None
    download: bool

    def training(self, recipe: Recipe) -> TrainOptions:
        """The recipe with what was asked for put over it."""
        from cl_ast.training.trainer import TrainOptions

        return TrainOptions(
            epochs=self.epochs or recipe.epochs,
            batch_size=self.batch_size or recipe.batch_size,
            learning_rate=self.lr,
            weight_decay=self.weight_decay,
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            frequency_mask=recipe.frequency_mask if self.freq_mask is None else self.freq_mask,
            time_mask=recipe.time_mask if self.time_mask is None else self.time_mask,
            precision=self.precision,
            head=self.head,
            compile=self.compile,
            seed=self.seed,
        )


_POSITIVE = click.IntRange(1)
_AT_LEAST_0 = click.FloatRange(0)
_UNDER_1 = click.FloatRange(0, 1, max_open=True)
_METHOD = click.option("--method", help="How to adapt: see `cl-ast methods`.  [default: conformer]")
_TRAINING = (
    click.option(
        "--from-layer", type=click.IntRange(0), metavar="N", help="Adapt layers N and up only, counted from 0; faster."
    ),
    click.option(
        "--backbone", metavar="B", help="Backbone of a new registry: ast-mini, ast-base, a hub name, a folder."
    ),
    click.option("--epochs", type=_POSITIVE, help="[default: the papers' for the data set, else 15]"),
    click.option("--batch-size", type=_POSITIVE, help="[default: the papers' for the data set, else 32]"),
    click.option("--lr", type=float, help="Learning rate at the start of the cosine.  [default: the method's]"),
    click.option("--weight-decay", type=_AT_LEAST_0, default=0.1, show_default=True),
    click.option("--beta1", type=_UNDER_1, default=0.9, show_default=True),
    click.option("--beta2", type=_UNDER_1, default=0.98, show_default=True),
    click.option("--epsilon", type=_AT_LEAST_0, default=1e-6, show_default=True),
    click.option("--freq-mask", type=click.IntRange(0), help="SpecAugment, in bins.  [default: the data set's]"),
    click.option("--time-mask", type=click.IntRange(0), help="SpecAugment, in frames.  [default: the data set's]"),
    click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16", "fast"]),
        default="auto",
        show_default=True,
        help="Of the backbone in training: auto is bf16 on a GPU, else fp32; fast is bf16 where it is faster.",
    ),
    click.option(
        "--head",
        type=click.Choice(["probe", "fresh"]),
        default="probe",
        show_default=True,
        help="How the head starts: as a linear probe of the backbone, or at random, as the papers' do.",
    ),
    click.option("--compile", is_flag=True, help="Compile the training step; for long trainings on a GPU."),
    click.option(
        "--pooling",
        type=click.Choice(["mean", "mean+std"]),
        help="Of the output tokens.  [default: mean, as the papers; mean+std over ast-mini]",
    ),
    click.option(
        "--positions",
        type=click.Choice(["resize", "zeros"]),
        default="resize",
        show_default=True,
        help="The backbone's position table: fitted to the clip, or left out as the papers' code does.",
    ),
    click.option("--fold", metavar="K", help="The fold to test on.  [default: the last]"),
    click.option(
        "--split-by",
        type=click.Choice(["auto", "split", "fold", "speaker", "random"]),
        default="auto",
        show_default=True,
        help="How a folder of clips is split.",
    ),
    click.option("--few-shot", type=_POSITIVE, metavar="K", help="Train on K clips a class."),
    click.option("--max-seconds", type=float, metavar="S", help="Cut clips to this length."),
    click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True),
    click.option("--download", is_flag=True, help="Get a free data set that is missing."),
)
_KEEPING = (
    click.option(
        "--store",
        type=click.Choice(["auto", "fp32", "fp16", "int8"]),
        default="auto",
        show_default=True,
        help="How the file holds the numbers: auto is half precision where the answers hold, else single.",
    ),
    click.option("--replace", is_flag=True, help="Make a new version of a task that is there."),
    click.option("--resume", is_flag=True, help="Go on with a training of over a minute that was stopped."),
    click.option(
        "--router",
        type=click.Choice(["discriminant", "prototypes", "ridge"]),
        help="How a new registry finds a clip's task.  [default: discriminant]",
    ),
    click.option("--no-eval", is_flag=True, help="Do not measure the tasks after it."),
)
# What a command that keeps nothing does not ask.
_NOT_KEPT = {"method": None, "store": "fp32", "replace": False, "resume": False, "no_eval": True, "router": None}


def learning_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the shared options; the command gets them as one `options: LearnOptions`."""
    return _gathering(command, (_METHOD, *_TRAINING, *_KEEPING), {})


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a command that trains and keeps nothing in the registry."""
    return _gathering(command, _TRAINING, _NOT_KEPT)


def _gathering(
    command: Callable[..., Any], options: Sequence[Callable[..., Any]], decided: Mapping[str, Any]
) -> Callable[..., Any]:
    @wraps(command)  # with the options that it has already
    def gathered(*arguments: Any, **given: Any) -> Any:
        names = [field.name for field in fields(LearnOptions) if field.name not in decided]
        taken = {name: given.pop(name) for name in names}
        return command(*arguments, options=LearnOptions(**taken, **decided), **given)

    wrapped: Callable[..., Any] = gathered
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def load(
    watch: Watch,
    task: str,
    options: LearnOptions,
    *,
    data: Path | None = None,
    data_root: Path | None = None,
    name: str | None = None,
) -> streams.Task:
    """The task that a word or a folder names, split as asked for."""
    import streams

    return streams.load(
        task,
        data=data,
        data_root=data_root,
        name=name,
        fold=options.fold,
        few_shot=options.few_shot,
        max_seconds=options.max_seconds,
        seed=options.seed,
        split_by=options.split_by,
        download=options.download,
        progress=watch.bytes_of(task),
    )


def learn(manager: Manager, watch: Watch, task: streams.Task, options: LearnOptions) -> Learned:
    """Learn a task, saying on the way what is done."""
    from cl_ast.adapters.spec import parse

    _announce(manager, watch, task)
    recipe = recipe_on(manager, task)
    learned = manager.add_task(
        task,
        method=parse(options.method or f"conformer:k={recipe.kernel}", manager.methods, from_layer=options.from_layer),
        options=options.training(recipe),
        pooling=pooling(manager, options),
        positions=options.positions,
        replace=options.replace,
        resume=options.resume,
        evaluate=not options.no_eval,
        store=options.store,
        progress=watch,
    )
    for skipped, reason in learned.skipped.items():
        watch.say(f"{skipped} could not be measured: {reason}")
    return learned


def recipe_on(manager: Manager, task: streams.Task) -> Recipe:
    """The task's recipe, as far as it fits what the backbone hears."""
    from cl_ast.training.recipes import recipe_for

    recipe = recipe_for(task.source.task)
    return recipe.for_waveforms() if manager.backbone.front_end(1.0).padding is None else recipe


def pooling(manager: Manager, options: LearnOptions) -> str:
    return options.pooling or ("mean+std" if manager.backbone_name == "ast-mini" else "mean")


def _announce(manager: Manager, watch: Watch, task: streams.Task) -> None:
    if manager.registry.backbone is None:
        watch.say(f"new registry over the backbone {manager.backbone_name}")
    counts = f"{len(task.train)} clips train, {len(task.validation)} validate, {len(task.test)} test"
    watch.say(f"{task.name}: {len(task.labels)} classes; {counts}; {task.protocol}")
