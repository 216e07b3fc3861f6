"""How a task is trained: every hyper-parameter, with its bounds and the text that the command line shows for it.

This module imports no torch, so that `--help` starts at once.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any

from cl_ast.errors import TrainingError

HEADS = ("probe", "fresh")
PRECISIONS = ("auto", "fp32", "bf16", "fast")
COMPILE = ("auto", "on", "off")
CROPS = ("loudest", "start", "all")
STORES = ("auto", "fp32", "fp16", "int8")
CLASS_WEIGHTS = ("none", "auto")
AUGMENTATIONS = ("mixup", "noise", "gain", "shift")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What values an option takes, and how it is explained.

    Attributes:
        help: one sentence for the command line.
        least, above, below: limits of a number, of which `above` and `below` are not allowed themselves.
        choices: the words that are allowed, for an option of one word.
        words: the words that are allowed, for an option of several with commas between them; "none" is for no word.
        shown: what the command line shows as the default where the recipe or the method decides.
    """

    help: str
    least: float = -math.inf
    above: float = -math.inf
    below: float = math.inf
    choices: tuple[str | bool, ...] = ()
    words: tuple[str, ...] = ()
    shown: str = ""

    def check(self, name: str, value: Any) -> None:
        """Raise TrainingError unless the value is allowed."""
        if self.choices:
            if value not in self.choices:
                raise TrainingError(f"{name} cannot be {value!r}; it is one of {', '.join(map(str, self.choices))}")
        elif self.words:
            for word in words_in(str(value)) - set(self.words):
                raise TrainingError(f"{name} cannot be {word!r}; it is none, or some of {', '.join(self.words)}")
        elif not (self.least <= value and self.above < value < self.below):  # False for NaN too
            limits = {"at least": self.least, "above": self.above, "below": self.below}
            words = [f"{word} {limit:g}" for word, limit in limits.items() if math.isfinite(limit)]
            raise TrainingError(f"{name} must be {' and '.join(words)}, not {value:g}")


def words_in(text: str) -> frozenset[str]:
    """Return the words of an option that takes several, such as "mixup,noise"; no word for "none"."""
    return frozenset(word.strip() for word in text.split(",")) - {"none"}


def _option(default: Any, help: str, **bounds: Any) -> Any:
    return field(default=default, metadata={"bounds": Bounds(help, **bounds)})


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The hyper-parameters of a training. `None` takes the data set's recipe (recipes.py), or the method's own rate.

    The optimiser is AdamW; a cosine takes the learning rate to zero over all steps, without warm-up. Defaults are those
    of the PETL paper (section III-A), but for the head, which starts as a linear probe. Each field's metadata hold its
    bounds and its explanation.
    """

    epochs: int | None = _option(
        None, "Passes over the training clips.", least=1, shown="the papers' for the data set, else 15"
    )
    patience: int = _option(
        0, "Stop after this many epochs that are no better on validation clips; 0 for never.", least=0
    )
    batch_size: int | None = _option(None, "Clips in a batch.", least=1, shown="the papers' for the data set, else 32")
    learning_rate: float | None = _option(
        None, "Initial learning rate; it decays to 0.", above=0, below=100, shown="the method's"
    )
    weight_decay: float = _option(0.1, "AdamW's weight decay.", least=0)
    beta1: float = _option(0.9, "AdamW's decay of the gradient's mean.", least=0, below=1)
    beta2: float = _option(0.98, "AdamW's decay of the gradient's square.", least=0, below=1)
    epsilon: float = _option(1e-6, "AdamW's epsilon.", least=0)
    frequency_mask: int | None = _option(
        None, "SpecAugment: the widest mask in mel bins; 0 for none.", least=0, shown="the data set's"
    )
    time_mask: int | None = _option(
        None, "SpecAugment: the widest mask in frames of 10 ms; 0 for none.", least=0, shown="the data set's"
    )
    augment: str = _option(
        "none",
        "How else training clips are changed each time: some of mixup,noise,gain,shift, with commas between them.",
        words=AUGMENTATIONS,
    )
    class_weights: str = _option(
        "none",
        "Weights of the classes in the loss: auto gives rare ones more, for unbalanced data.",
        choices=CLASS_WEIGHTS,
    )
    precision: str = _option(
        "auto",
        "The backbone's arithmetic: auto is bf16 on a GPU, else fp32; fast is bf16 where that is faster.",
        choices=PRECISIONS,
    )
    head: str = _option(
        "probe", "How the head starts: as a linear probe, or at random (fresh) as in the papers.", choices=HEADS
    )
    crop: str = _option(
        "loudest",
        "Of longer clips than the task hears, train on the loudest stretch, the start, or all windows that sound.",
        choices=CROPS,
    )
    compile: str = _option(
        "auto",
        "Compile the training step: auto does so on a GPU for trainings that are long enough.",
        choices=COMPILE,
    )
    seed: int = _option(0, "Seed of all random numbers.", least=0, below=2**32)

    def __post_init__(self) -> None:
        for one in fields(TrainOptions):
            value = getattr(self, one.name)
            if value is not None:
                one.metadata["bounds"].check(one.name.replace("_", " "), value)
        # However it is written, the same choice is recorded in the same form.
        words = words_in(self.augment)
        object.__setattr__(self, "augment", ",".join(one for one in AUGMENTATIONS if one in words) or "none")

    @property
    def one_stretch(self) -> str:
        """What is taken of a longer validation clip, which counts once: what `crop` says, or for "all" the loudest."""
        return "loudest" if self.crop == "all" else self.crop

    def completed(
        self, *, epochs: int, batch_size: int, learning_rate: float, masks: tuple[int, int]
    ) -> "Hyperparameters":
        """Return the options with these values for what was left open.

        Args:
            masks: the frequency mask in bins and the time mask in frames.
        """
        open_values = {
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "frequency_mask": masks[0],
            "time_mask": masks[1],
        }
        given: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(TrainOptions)}
        given |= {name: value for name, value in open_values.items() if given[name] is None}
        return Hyperparameters(**given)


@dataclass(frozen=True, slots=True)
class Hyperparameters(TrainOptions):
    """`TrainOptions` in which nothing is left open: what a training uses and a version records."""

    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 5e-3
    frequency_mask: int = 0
    time_mask: int = 0
