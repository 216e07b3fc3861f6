"""Weights of classes: inverse to the number of clips, in the loss of the linear probe and of every step."""

import pytest
import torch
from torch.nn import functional as F

from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.tasks.label_kinds import KINDS
from cl_ast.training import linear_probe
from cl_ast.training.class_weights import weights_of
from cl_ast.training.clips import ClipSet
from cl_ast.training.options import Hyperparameters
from cl_ast.training.trainer import train
from tests.cl_ast.conftest import Fresh, Toy

CLASSES = KINDS["classes"]
TARGETS = torch.tensor([0] * 6 + [1] * 3 + [3])


def test_a_class_weighs_the_more_the_fewer_clips_it_has() -> None:
    weights = weights_of("auto", CLASSES, TARGETS, 4)
    assert weights is not None
    assert weights[1] == pytest.approx(2 * float(weights[0]))
    assert weights[3] == pytest.approx(6 * float(weights[0]))
    assert weights[2] == 0  # it has no clip
    assert float(weights[TARGETS].mean()) == pytest.approx(1)
    assert weights_of("none", CLASSES, TARGETS, 4) is None


def test_the_loss_is_the_mean_over_clips_of_weighted_losses() -> None:
    logits = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    weights = weights_of("auto", CLASSES, TARGETS, 4)
    assert weights is not None
    each = F.cross_entropy(logits, TARGETS, reduction="none")
    loss = CLASSES.loss(weights)
    torch.testing.assert_close(loss(logits, TARGETS), (weights[TARGETS] * each).mean())
    # Two processes, or two batches, have the mean of the whole between them.
    halves = (loss(logits[::2], TARGETS[::2]) + loss(logits[1::2], TARGETS[1::2])) / 2
    torch.testing.assert_close(halves, loss(logits, TARGETS))
    shares = F.one_hot(TARGETS, 4).float()
    torch.testing.assert_close(loss(logits, shares), loss(logits, TARGETS))
    right = CLASSES.right(logits, TARGETS)
    assert right is not None and right == CLASSES.right(logits, shares) == (logits.argmax(dim=1) == TARGETS).sum()
    assert torch.equal(CLASSES.loss(None)(logits, TARGETS), F.cross_entropy(logits, TARGETS))


def test_the_probe_finds_the_rare_class_only_with_weights() -> None:
    """Overlapping classes, one of which is rare: without weights its clips are called the frequent one."""
    generator = torch.Generator().manual_seed(1)
    frequent, rare = torch.randn(190, 3, generator=generator), torch.randn(10, 3, generator=generator) + 0.8
    vectors, targets = torch.cat([frequent, rare]), torch.tensor([0] * 190 + [1] * 10)

    def found(kind: str) -> float:
        weight, bias = linear_probe.fit(vectors, targets, 2, weights=weights_of(kind, CLASSES, targets, 2))
        return float((F.linear(rare, weight, bias).argmax(dim=1) == 1).float().mean())

    assert found("none") < 0.2
    assert found("auto") > 0.6


def test_a_training_uses_them(fresh: Fresh, toy: Toy) -> None:
    """The sounds do not tell ten clips of one class from two of another, so only their number decides."""
    clips = ClipSet(toy(0, 12).places, [0] * 10 + [1] * 2, LogMelFrontEnd(30))

    def bias(kind: str, head: str) -> float:
        model = fresh("linear", labels=("tone", "noise"), frames=30)
        options = Hyperparameters(epochs=4, batch_size=4, learning_rate=5e-2, class_weights=kind, head=head)
        train(model, clips, clips, options)
        gap = model.logits(clips.batch(range(12))[0]).detach()
        return float((gap[:, 0] - gap[:, 1]).mean())

    for head in ("probe", "fresh"):
        assert bias("none", head) > bias("auto", head) + 0.3
