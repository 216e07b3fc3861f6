"""Decides whether a training ends before its last epoch: it does not improve any more, or its user stops it."""

from collections.abc import Callable

from cl_ast.training.checkpoint import History
from cl_ast.training.distributed import ALONE, Group

Stop = Callable[[], bool]
"""Returns whether the user wants the training to end now; called after each step and between epochs."""

PATIENCE = "patience"
BY_USER = "user"


def never() -> bool:
    """Let the training go on to its last epoch."""
    return False


class Stopping:
    """The end of one training. All processes of a group come to the same decision.

    Attributes:
        reason: why the training ends before its last epoch, `PATIENCE` or `BY_USER`; None while it goes on.
    """

    def __init__(self, patience: int = 0, stop: Stop = never, group: Group = ALONE) -> None:
        """
        Args:
            patience: how many epochs without improvement on validation clips end the training; 0 for any number.
        """
        self.reason: str | None = None
        self._patience = patience
        self._stop = stop
        self._group = group

    def after_step(self) -> bool:
        """Return whether the training ends with the step that was just taken."""
        if self._group.any(self._stop()):
            self.reason = BY_USER
        return self.reason is not None

    def before_epoch(self, history: History, since: int = 0) -> bool:
        """Return whether the training ends instead of another epoch.

        It follows from the history, so that a training which is resumed ends where it would have ended. A training
        without any weights to keep goes on for a step.

        Args:
            since: the epoch from which on improvements count.
        """
        if not history.curve:
            return False
        if self._patience and history.curve[-1].epoch - max(history.epoch, since) >= self._patience:
            self.reason = PATIENCE
        return self.reason is not None or self.after_step()
