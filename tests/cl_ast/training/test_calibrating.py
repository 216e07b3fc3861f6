"""The temperature: the least cross-entropy, within what so few clips can show."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.training.calibrating import fit


def _drawn(scale: float, clips: int = 2_000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return logits that are `scale` times as large as the labels, which were drawn from them, warrant."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(clips, 5, generator=generator)
    targets = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    return scale * logits, targets


@pytest.mark.parametrize("scale", [0.2, 1.0, 4.0])
def test_it_undoes_a_head_that_is_too_certain_or_too_careful(scale: float) -> None:
    logits, targets = _drawn(scale)
    found = fit(logits, targets)
    assert found == pytest.approx(scale, rel=0.15)
    assert found == fit(logits.flip(0), targets.flip(0)) or found == pytest.approx(fit(logits.flip(0), targets.flip(0)))
    loss = F.cross_entropy(logits.double() / found, targets)
    for other in (0.9 * found, 1.1 * found, 1.0):
        assert loss <= F.cross_entropy(logits.double() / other, targets)


def test_a_few_clips_that_are_all_right_do_not_make_it_certain() -> None:
    for clips in (1, 2, 8, 40):
        targets = torch.arange(clips) % 3
        logits = F.one_hot(targets, 3).float() * 0.5
        found = fit(logits, targets)
        best = (logits / found).softmax(dim=1).amax(dim=1)
        assert best.mean() == pytest.approx((clips + 1) / (clips + 2), abs=1e-4)
        assert F.cross_entropy(logits / found, targets) < F.cross_entropy(logits, targets)
        certain = 20 * logits  # more than they can show, but it was the head's own answer
        assert fit(certain, targets) == 1


def test_it_stays_within_bounds_and_without_clips_it_is_one() -> None:
    wrong = 100 * F.one_hot(torch.tensor([1, 0]), 2).float()
    assert fit(wrong, torch.tensor([0, 1])) == 20
    assert fit(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)) == 1
    assert fit(torch.tensor([[float("inf"), 0.0]]), torch.tensor([0])) == 1
    assert 0.05 <= fit(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])) <= 20
