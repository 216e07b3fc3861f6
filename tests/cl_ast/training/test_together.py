"""Tasks that learn together train one shared part, which is frozen afterwards."""

import pytest
import torch
from torch import Tensor

from cl_ast.adapters.spec import parse
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import TrainingError
from cl_ast.progress import Step
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.options import Hyperparameters
from cl_ast.training.together import LearnedTogether, Learner, train_together
from tests.cl_ast.conftest import Toy, shared_part

OPTIONS = Hyperparameters(2, batch_size=8)


def _learners(backbone: Backbone, toy: Toy, shared: dict[str, Tensor]) -> list[Learner]:
    """Two tasks of the same labels with clips of their own, which read one shared part."""
    found = []
    for number in range(2):
        settings = TaskSettings(f"toy {number}", parse("mhr:s=2,h=2,r=2"), ("tone", "noise"), backbone.front_end(0.3))
        model = TaskModel.fresh(settings, backbone, torch.Generator().manual_seed(number), shared)
        found.append(
            Learner(model, toy(24 * number, 24 * number + 16), toy(24 * number + 16, 24 * number + 24), OPTIONS)
        )
    return found


def _trained(backbone: Backbone, toy: Toy) -> tuple[dict[str, Tensor], list[Learner], LearnedTogether]:
    shared = shared_part(parse("mhr:s=2,h=2,r=2"), backbone)
    learners = _learners(backbone, toy, shared)
    return shared, learners, train_together(learners, shared, OPTIONS)


@pytest.mark.slow
def test_all_tasks_change_the_shared_part_which_is_frozen_afterwards(backbone: Backbone, toy: Toy) -> None:
    before = shared_part(parse("mhr:s=2,h=2,r=2"), backbone)
    shared, learners, learned = _trained(backbone, toy)
    assert learned.epoch in (1, 2) and len(learned.accuracies) == 2
    for name, tensor in shared.items():
        assert not torch.equal(tensor, before[name]), name
        assert not tensor.requires_grad and tensor.grad is None
    for learner in learners:  # each reads the very tensors
        assert learner.model.adapter.shared is shared
        assert all(not tensor.requires_grad for tensor in learner.model.trainable())
    again, *_ = _trained(backbone, toy)
    assert all(torch.equal(tensor, again[name]) for name, tensor in shared.items())


def test_a_training_that_is_stopped_at_once_has_nothing_to_keep(backbone: Backbone, toy: Toy) -> None:
    shared = shared_part(parse("mhr:s=2,h=2,r=2"), backbone)
    with pytest.raises(TrainingError, match="before its first epoch was over"):
        train_together(_learners(backbone, toy, shared), shared, OPTIONS, stop=lambda: True)
    assert all(not tensor.requires_grad for tensor in shared.values())


@pytest.mark.slow
def test_it_says_how_far_it_is_with_the_mean_loss_and_what_to_do_where_memory_is_full(
    backbone: Backbone, toy: Toy
) -> None:
    def full(step: Step) -> None:
        steps.append(step)
        if step.note == "epoch 2/2":
            raise torch.OutOfMemoryError("CUDA out of memory")

    shared, steps = shared_part(parse("mhr:s=2,h=2,r=2"), backbone), list[Step]()
    with pytest.raises(TrainingError, match=r"memory of cpu is full.*--batch-size than 8"):
        train_together(_learners(backbone, toy, shared), shared, OPTIONS, full)
    trained = [step for step in steps if step.stage == "training"]
    assert [(one.done, one.total, one.note) for one in trained] == [(4, 8, "epoch 1/2"), (8, 8, "epoch 2/2")]
    assert all(one.loss is not None and 0 < one.loss < 5 for one in trained)
