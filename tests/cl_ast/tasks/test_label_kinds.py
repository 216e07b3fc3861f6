"""Classes and tags: what the outputs of a head mean, the loss, and the metric, as their own formulas say."""

import pytest
import torch
from torch.nn import functional as F

from cl_ast.tasks.kind_names import CLASSES, TAGS
from cl_ast.tasks.label_kinds import KINDS
from cl_ast.training import calibrating, linear_probe
from cl_ast.training.class_weights import weights_of

SETS = (("dog",), ("dog", "rain"), ("rain",), ("wind", "other"))
LABELS = ("dog", "rain", "wind")


def test_targets_and_shares() -> None:
    tags, classes = KINDS[TAGS], KINDS[CLASSES]
    found = tags.targets(SETS, LABELS)
    assert found.tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]]  # a label that is not known is left out
    assert torch.equal(tags.shares(found, 3), found)
    one = classes.targets([("rain",), ("dog",)], LABELS)
    assert one.tolist() == [1, 0] and classes.shares(one, 3).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_tags_are_sigmoids_whose_losses_are_added() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    targets = KINDS[TAGS].targets(SETS, LABELS)
    p = 1 / (1 + (-logits).exp())
    assert torch.allclose(KINDS[TAGS].probabilities(logits), p)
    each = -(targets * p.log() + (1 - targets) * (1 - p).log())
    assert torch.allclose(KINDS[TAGS].loss(None)(logits, targets), each.sum(dim=1).mean())
    weights = torch.tensor([1.0, 2.0, 0.5])
    assert torch.allclose(KINDS[TAGS].loss(weights)(logits, targets), (each * weights).sum(dim=1).mean())
    assert KINDS[TAGS].right(logits, targets) is None
    assert KINDS[TAGS].measure(targets, targets) == 1 and KINDS[TAGS].metric == "mAP"


def test_a_rare_tag_weighs_more() -> None:
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    weights = weights_of("auto", KINDS[TAGS], targets, 2)
    assert weights is not None and weights[1] == pytest.approx(4 * float(weights[0]))
    assert float((targets * weights).sum() / targets.sum()) == pytest.approx(1)


def test_the_probe_of_tags_is_one_regression_a_tag() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(200, 6, generator=generator)
    targets = (vectors[:, :3] + 0.3 * torch.randn(200, 3, generator=generator) > 0.4).float()
    weight, bias = linear_probe.fit(vectors, targets, 3, labelling=KINDS[TAGS])
    assert KINDS[TAGS].measure(F.linear(vectors, weight, bias), targets) > 0.9
    sklearn = pytest.importorskip("sklearn.linear_model")
    scaled = ((vectors - vectors.mean(dim=0)) / vectors.std(dim=0, correction=0)).double()
    for tag in range(3):  # C is one over the penalty, and scikit-learn adds the losses of the clips
        own = sklearn.LogisticRegression(C=1 / (linear_probe.PENALTY * 200), tol=1e-8, max_iter=1000)
        own.fit(scaled.numpy(), targets[:, tag].numpy())
        expected = torch.tensor(own.decision_function(scaled.numpy())).float()
        assert torch.allclose(F.linear(vectors, weight, bias)[:, tag], expected, atol=1e-3)


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_temperature_of_tags_undoes_a_head_that_is_too_certain_or_too_careful(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2_000, 4, generator=generator) - 1
    targets = (torch.rand(logits.shape, generator=generator) < logits.sigmoid()).float()
    found = calibrating.fit(scale * logits, targets, KINDS[TAGS])
    assert found == pytest.approx(scale, rel=0.15)
    loss = KINDS[TAGS].loss(None)
    for other in (0.9 * found, 1.1 * found):
        assert loss(scale * logits / found, targets) <= loss(scale * logits / other, targets)


def test_few_clips_do_not_make_tags_certain() -> None:
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    found = calibrating.fit(targets - 0.5, targets, KINDS[TAGS])
    sure = KINDS[TAGS].certainties(((targets - 0.5) / found).sigmoid())
    assert sure.mean() == pytest.approx(7 / 8, abs=1e-4)  # six decisions, all of them right
