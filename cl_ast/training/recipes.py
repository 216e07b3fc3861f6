"""How each data set is trained unless asked otherwise: the papers' recipes, and one for folders of clips.

The numbers are those of the papers' public configuration, but for folders.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.spec import MethodSpec, parse
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import MethodError
from cl_ast.training.options import Hyperparameters, TrainOptions


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is used for a task where nothing is asked for.

    Attributes:
        method: as `--method` takes it.
        pooling: one of `POOLINGS`.
        epochs, batch_size: of the training.
        frequency_mask, time_mask: SpecAugment's widest masks, in mel bins and frames.
    """

    method: str
    pooling: str
    epochs: int
    batch_size: int
    frequency_mask: int = 0
    time_mask: int = 0

    def spec(self, word: str, methods: Mapping[str, Method] = METHODS) -> MethodSpec:
        """Return a method as a user writes it: of the recipe's own method, what the word leaves open is the recipe's.

        Raises:
            MethodError: there is no such method or option.
        """
        name, _, own = self.method.partition(":")
        given, _, options = word.strip().lower().partition(":")
        if given == name:
            with suppress(MethodError):  # the word itself sets what the recipe does, or is wrong
                return parse(f"{name}:{options},{own}", methods)
        return parse(word, methods)

    def complete(self, options: TrainOptions, method: MethodSpec) -> Hyperparameters:
        """Return the options with the recipe's values, and the method's learning rate, for what was left open."""
        return options.completed(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=method.learning_rate,
            masks=(self.frequency_mask, self.time_mask),
        )


@dataclass(frozen=True, slots=True)
class _DataSet:
    """A data set's row of the papers; `kernel` is the conformer's: 8 for sounds, 31 for speech (section 3.3)."""

    epochs: int
    batch_size: int
    frequency_mask: int = 0
    time_mask: int = 0
    kernel: int = 31


_DATA_SETS: Mapping[str, _DataSet] = {
    "esc50": _DataSet(50, 32, 24, 80, kernel=8),
    "us8k": _DataSet(30, 32, 24, 80, kernel=8),
    "gsc": _DataSet(75, 128),
    "fsc": _DataSet(75, 32),
    "iemocap": _DataSet(20, 32),
}
# Nothing is known of what is in a folder: the kernel for speech harms sounds less than the other way round. With a
# head that starts as a linear probe, accuracy on validation clips over ast-mini rose no more after 4 to 10 epochs.
_FOLDER = _DataSet(15, 32)


def recipe_for(data_set: str, backbone: Backbone) -> Recipe:
    """Return the recipe of a task over a backbone: the one place that decides how a task is trained by default.

    Args:
        data_set: `Task.source.task`, such as "esc50"; anything else is a folder of clips.
    """
    row = _DATA_SETS.get(data_set, _FOLDER)
    # A backbone that takes samples has no bins or frames to mask.
    masks = (row.frequency_mask, row.time_mask) if backbone.front_end(1.0).spectrogram else (0, 0)
    return Recipe(f"conformer:k={row.kernel}", backbone.pooling, row.epochs, row.batch_size, *masks)
