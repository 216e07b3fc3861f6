"""How long work says how far it has come, and what its user should look at; the library itself prints nothing."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """How far a stage has come.

    Attributes:
        stage: such as "reading clips" or "training".
        done, total: in the stage's own unit, mostly clips; 0 done announces a stage that says nothing for a while.
        note: where in the stage, such as "epoch 3/30".
        loss, accuracy: while training, over the epoch so far.
    """

    stage: str
    done: int
    total: int
    note: str = ""
    loss: float | None = None
    accuracy: float | None = None


Progress = Callable[[Step], None]


def silent(_: Step) -> None:
    """Ignore all progress."""


class ClAstWarning(UserWarning):
    """Given with `warnings.warn` where the work goes on, and its user should look at something; commands print it."""
