"""Trainings that end before their last epoch: nothing improves any more, or the user stops them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.progress import Step, silent
from cl_ast.training.checkpoint import Checkpoint, EpochScores, History
from cl_ast.training.clips import ClipSet
from cl_ast.training.distributed import Group
from cl_ast.training.options import Hyperparameters
from cl_ast.training.stopping import Stop, Stopping, never
from cl_ast.training.trainer import Trained, accuracy_of, train
from tests.cl_ast.conftest import Fresh, Toy

LABELS = ("tone", "noise")
OPTIONS = Hyperparameters(epochs=9, batch_size=8, learning_rate=3e-3)


class StoppedAfter:
    """Stops a training after so many steps, and counts how often it was asked."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


@pytest.fixture
def reversed_clips(toy_clips: list[Path]) -> ClipSet:
    """Validation clips whose labels are the wrong way round: every epoch of learning makes the loss worse."""
    return ClipSet(toy_clips[32:], [(n + 1) % 2 for n in range(16)], LogMelFrontEnd(30))


def _trained(
    fresh: Fresh,
    training: ClipSet,
    validation: ClipSet,
    options: Hyperparameters,
    *,
    stop: Stop = never,
    checkpoint: Checkpoint | None = None,
    resume: bool = False,
) -> tuple[Trained, dict[str, Tensor]]:
    model = fresh("bottleneck", labels=LABELS, frames=30)
    trained = train(model, training, validation, options, silent, stop=stop, checkpoint=checkpoint, resume=resume)
    return trained, model.state()


@pytest.mark.slow
def test_patience_ends_a_training_that_gets_no_better(fresh: Fresh, toy: Toy, reversed_clips: ClipSet) -> None:
    options = Hyperparameters(epochs=9, batch_size=8, learning_rate=3e-3, patience=2)
    trained, _ = _trained(fresh, toy(0, 16), reversed_clips, options)
    assert trained.stopped == "patience"
    assert trained.curve[-1].epoch == trained.epoch + 2 < 9
    through, _ = _trained(fresh, toy(0, 16), reversed_clips, OPTIONS)
    assert (through.stopped, through.curve[-1].epoch) == (None, 9)
    assert through.curve[: len(trained.curve)] == trained.curve  # the same training, up to there


@pytest.mark.slow
def test_a_resumed_training_ends_where_it_would_have_ended(
    fresh: Fresh, toy: Toy, reversed_clips: ClipSet, tmp_path: Path
) -> None:
    options = Hyperparameters(epochs=9, batch_size=8, learning_rate=3e-3, patience=2)
    expected, weights = _trained(fresh, toy(0, 16), reversed_clips, options)
    checkpoint = Checkpoint(tmp_path, {}, every=0)
    _trained(fresh, toy(0, 16), reversed_clips, options, checkpoint=checkpoint)
    # As if it had been killed after the last epoch, before its task was committed.
    again, resumed = _trained(fresh, toy(0, 16), reversed_clips, options, checkpoint=checkpoint, resume=True)
    assert (again.stopped, again.epoch, again.curve) == (expected.stopped, expected.epoch, expected.curve)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in weights.items())


@pytest.mark.parametrize("head", ["probe", "fresh"])
def test_a_user_gets_the_best_weights_so_far(fresh: Fresh, toy: Toy, head: str) -> None:
    """The third step is in the middle of the first epoch of four."""
    options = Hyperparameters(epochs=9, batch_size=8, learning_rate=3e-3, head=head)
    steps: list[Step] = []
    model = fresh("bottleneck", labels=LABELS, frames=30)
    stop = StoppedAfter(3 + (head == "probe"))  # with a probe there is something to keep, so it is asked before, too
    trained = train(model, toy(0, 32), toy(32, 48), options, steps.append, stop=stop)
    assert trained.stopped == "user"
    assert [one.epoch for one in trained.curve] == ([0, 1] if head == "probe" else [1])
    assert accuracy_of(model, toy(32, 48)) == pytest.approx((trained.accuracy, trained.loss), abs=1e-4)
    assert stop.left == 0  # nobody went on asking
    assert not [step for step in steps if step.stage == "training"]  # the epoch was not finished


@pytest.mark.slow
def test_no_checkpoint_is_made_of_a_part_of_an_epoch(fresh: Fresh, toy: Toy, tmp_path: Path) -> None:
    expected, weights = _trained(fresh, toy(0, 32), toy(32, 48), OPTIONS)
    checkpoint = Checkpoint(tmp_path, {}, every=0)
    stopped, _ = _trained(fresh, toy(0, 32), toy(32, 48), OPTIONS, stop=StoppedAfter(14), checkpoint=checkpoint)
    assert stopped.stopped == "user" and stopped.curve[-1].epoch == 3
    resumed, same = _trained(fresh, toy(0, 32), toy(32, 48), OPTIONS, checkpoint=checkpoint, resume=True)
    assert resumed.curve == expected.curve
    assert all(torch.equal(tensor, same[name]) for name, tensor in weights.items())


def test_all_processes_stop_where_one_is_told_to() -> None:
    class Two(Group):
        """The point of view of a process beside which another one is told to stop."""

        def any(self, flag: bool) -> bool:
            return True

    history = History(epoch=1, curve=(EpochScores(1, 0.0, 1.0, 0.0, 1.0),))
    after, before = (Stopping(0, never, Two(1, 2)) for _ in range(2))
    assert after.after_step() and after.reason == "user"
    assert before.before_epoch(history) and before.reason == "user"
    assert not Stopping(0, never, Two(1, 2)).before_epoch(History())  # nothing could be kept yet
