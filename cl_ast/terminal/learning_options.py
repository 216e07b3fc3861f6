"""The options of the commands that train. Those of a training are made from the fields of `TrainOptions`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from cl_ast.training.options import STORES, Bounds, TrainOptions, words_in

if TYPE_CHECKING:
    import streams
    from cl_ast.terminal.rendering.progress import ProgressDisplay

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True)
class LearningOptions:
    """What the command line says of learning a task; None is decided by the data set's recipe or by the method.

    Attributes:
        train: the options of the training.
        method, from_layer: how the backbone is adapted.
        backbone, backbone_precision, router: of a new registry.
        pooling, positions: of the task on the backbone.
        fold, split_by, split, label_column, few_shot, max_seconds, download: how the data are loaded and split.
        negatives: a folder of sounds that are none of the classes.
        share: the name of the shared part that the method reads.
        store, replace, resume, no_eval, no_calibration: what is kept, and how.
        log: the experiment tracker that gets the learning curve and the retention matrix.
    """

    train: TrainOptions
    method: str | None = None
    from_layer: int | None = None
    backbone: str | None = None
    backbone_precision: str | None = None
    pooling: str | None = None
    positions: str = "resize"
    fold: str | None = None
    split_by: str = "auto"
    split: str | None = None
    label_column: str | None = None
    few_shot: int | None = None
    max_seconds: float | None = None
    download: bool = False
    store: str = "auto"
    replace: bool = False
    resume: bool = False
    no_eval: bool = False
    no_calibration: bool = False
    router: str | None = None
    negatives: Path | None = None
    log: str | None = None
    share: str | None = None


_FLAGS = {"learning_rate": "lr", "frequency_mask": "freq_mask"}  # fields that are called otherwise on the command line
_POSITIVE = click.IntRange(1)


def _flag_of(field: Field[Any]) -> Decorator:
    """Make the command-line option of one field of `TrainOptions`."""
    bounds: Bounds = field.metadata["bounds"]
    flag = "--" + _FLAGS.get(field.name, field.name).replace("_", "-")
    if field.default is False:
        return click.option(flag, field.name, is_flag=True, help=bounds.help)
    default = f"  [default: {bounds.shown}]" if bounds.shown else ""
    # `--compile` alone is "on". To click, a value of None for alone would make every option a flag.
    alone: dict[str, Any] = {"is_flag": False, "flag_value": "on"} if "on" in bounds.choices else {}
    return click.option(
        flag,
        field.name,
        type=_type_of(field, bounds),
        default=field.default,
        show_default=field.default is not None,
        help=bounds.help + default,
        **alone,
    )


class _Words(click.ParamType[str]):
    """Some of a list of words, with commas between them; or "none"."""

    name = "words"

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the words as they were given. Raises click.BadParameter for a word that is none of them."""
        for word in words_in(str(value)) - set(self._words):
            self.fail(f"{word!r} is none of {', '.join(self._words)}.", param, ctx)
        return str(value)


def _type_of(field: Field[Any], bounds: Bounds) -> click.ParamType[Any]:
    if bounds.words:
        return _Words(bounds.words)
    if bounds.choices:
        return click.Choice([str(word) for word in bounds.choices])
    if int in (field.type, *get_args(field.type)):
        return click.IntRange(int(bounds.least), None if bounds.below == float("inf") else int(bounds.below) - 1)
    if bounds.above == float("-inf"):
        return click.FloatRange(bounds.least, bounds.below, max_open=True)
    return click.FLOAT


_METHOD = click.option(
    "--method", help="How to adapt the backbone: see `cl-ast methods`.  [default: conformer, as fits the data set]"
)
BACKBONE_PRECISION = click.option(
    "--backbone-precision",
    type=click.Choice(["fp32", "int8"]),
    help="Weights of a new registry's backbone: int8 takes a fourth of the memory, and is slower.  [default: fp32]",
)
_SHARE = click.option("--share", metavar="NAME", help="Read a shared part of `cl-ast share`, whose method it is then.")
_BACKBONE = (
    click.option(
        "--from-layer", type=click.IntRange(0), metavar="N", help="Adapt layers N and up only, counted from 0; faster."
    ),
    click.option(
        "--backbone", metavar="B", help="Backbone of a new registry: ast-mini, ast-base, a hub name, a folder."
    ),
    click.option(
        "--pooling",
        type=click.Choice(["mean", "mean+std"]),
        help="How outputs are averaged over time.  [default: mean, as the papers; mean+std over ast-mini]",
    ),
)
_POSITIONS = click.option(
    "--positions",
    type=click.Choice(["resize", "zeros"]),
    default="resize",
    show_default=True,
    help="Position embeddings: resized to the clip's length, or left out as the papers' code does.",
)
_PART = (
    click.option("--fold", metavar="K", help="The fold to test on.  [default: the last]"),
    click.option("--few-shot", type=_POSITIVE, metavar="K", help="Train on K clips per class."),
)
_DATA = (
    click.option("--split", metavar="A/B", help="Of hf:NAME, the parts that train and test, such as train/test."),
    click.option("--label-column", metavar="C", help="Of hf:NAME, the column of the labels."),
    click.option(
        "--split-by",
        type=click.Choice(["auto", "split", "fold", "speaker", "random"]),
        default="auto",
        show_default=True,
        help="How a folder of clips is split.",
    ),
    click.option("--max-seconds", type=float, metavar="S", help="Cut clips to this length."),
    click.option("--download", is_flag=True, help="Get a free data set that is missing."),
)
_KEEPING = (
    click.option(
        "--store",
        type=click.Choice(STORES),
        default="auto",
        show_default=True,
        help="Numbers in the file: auto is 16 bits a number where predictions stay the same, else 32.",
    ),
    click.option("--replace", is_flag=True, help="Make a new version of a task that is there."),
    click.option("--resume", is_flag=True, help="Go on with a training of over a minute that was stopped."),
    click.option(
        "--router",
        type=click.Choice(["discriminant", "prototypes", "ridge"]),
        help="How a new registry finds a clip's task.  [default: discriminant]",
    ),
    click.option(
        "--negatives",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Sounds that are none of the classes, such as a room's; the router learns to call them unknown.",
    ),
    click.option("--no-calibration", is_flag=True, help="Show the probabilities as the head gives them."),
    click.option(
        "--log",
        type=click.Choice(["tensorboard", "mlflow", "wandb"]),
        help="Write learning curve and retention to an experiment tracker, a run a task.",
    ),
    click.option("--no-eval", is_flag=True, help="Do not measure the tasks afterwards."),
)
_TRAINING = tuple(_flag_of(field) for field in fields(TrainOptions))
_COMMON = tuple(
    _flag_of(field)
    for field in fields(TrainOptions)
    if field.name in ("epochs", "batch_size", "learning_rate", "weight_decay", "precision", "head", "seed")
)


def learning_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of learning a task; the command gets them as one `options: LearningOptions`."""
    return _gathered(
        command,
        (_METHOD, _SHARE, *_BACKBONE, BACKBONE_PRECISION, _POSITIONS, *_TRAINING, *_PART, *_DATA, *_KEEPING),
        {},
    )


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the same options to a command that trains on several parts of the data, and keeps nothing in the registry."""
    return _gathered(command, (*_BACKBONE, _POSITIONS, *_TRAINING, *_DATA), {"store": "fp32", "no_eval": True})


def shared_training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add those of the same options to which every way to learn a stream can hold (`cl-ast baselines`)."""
    return _gathered(command, (*_BACKBONE, *_COMMON, *_DATA), {})


def options_of_training_together(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add those of a training that several tasks can have together (`cl-ast share`)."""
    return _gathered(command, _COMMON, {})


def _gathered(
    command: Callable[..., Any], options: Sequence[Decorator], decided: Mapping[str, Any]
) -> Callable[..., Any]:
    """Wrap a command, so that these options arrive as one value. Raises TrainingError for values out of bounds."""
    train_names = {field.name for field in fields(TrainOptions)}
    other_names = {field.name for field in fields(LearningOptions)} - {"train"}

    @wraps(command)  # with the options that it has already
    def gathered(*arguments: Any, **given: Any) -> Any:
        train = TrainOptions(**{name: given.pop(name) for name in train_names & set(given)})
        others = {name: given.pop(name) for name in other_names & set(given)}
        return command(*arguments, options=LearningOptions(train, **{**others, **decided}), **given)

    wrapped: Callable[..., Any] = gathered
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def load(
    display: ProgressDisplay,
    task: str,
    options: LearningOptions,
    *,
    data: Path | None = None,
    data_root: Path | None = None,
    name: str | None = None,
) -> streams.Task:
    """Load the task that a word or a folder names, split as the options say."""
    import streams

    return streams.load(
        task,
        data=data,
        data_root=data_root,
        name=name,
        fold=options.fold,
        few_shot=options.few_shot,
        max_seconds=options.max_seconds,
        seed=options.train.seed,
        split_by=options.split_by,
        split=options.split,
        label_column=options.label_column,
        download=options.download,
        progress=display.bytes_of(task),
    )
