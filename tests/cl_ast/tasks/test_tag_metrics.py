"""Tests mAP and lwlrap against scikit-learn, and what must hold of them whatever the scores are."""

import numpy as np
import pytest
import torch

from cl_ast.tasks.tag_metrics import average_precisions, lwlrap, mean_average_precision

sklearn_metrics = pytest.importorskip("sklearn.metrics")


def draw(seed: int, clips: int = 40, tags: int = 7, levels: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random scores, of so many different values (0 for any), and truth in which each clip has a tag."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(clips, tags)) if not levels else rng.integers(levels, size=(clips, tags)).astype(float)
    truth = rng.random((clips, tags)) < rng.uniform(0.05, 0.6)
    truth[np.arange(clips), rng.integers(tags, size=clips)] = True
    return torch.tensor(scores), torch.tensor(truth)


@pytest.mark.parametrize("levels", [0, 2, 4])
@pytest.mark.parametrize("seed", range(8))
def test_both_are_those_of_scikit_learn(seed: int, levels: int) -> None:
    scores, truth = draw(seed, levels=levels)
    truth[:, 6] = False  # a tag of no clip
    own = [sklearn_metrics.average_precision_score(truth[:, n], scores[:, n]) for n in range(6)]
    found = average_precisions(scores, truth)
    assert found[:6].tolist() == pytest.approx(own, abs=1e-12) and found[6].isnan()
    assert mean_average_precision(scores, truth) == pytest.approx(np.mean(own), abs=1e-12)
    # A clip without a tag has weight 0.
    weights = truth.sum(dim=1).numpy()
    ranked = sklearn_metrics.label_ranking_average_precision_score(truth, scores, sample_weight=weights)
    assert lwlrap(scores, truth) == pytest.approx(ranked, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_only_the_order_counts(seed: int) -> None:
    scores, truth = draw(seed)
    for other in (scores.sigmoid(), 3 * scores - 7, scores**3):
        assert mean_average_precision(other, truth) == pytest.approx(mean_average_precision(scores, truth), abs=1e-12)
        assert lwlrap(other, truth) == pytest.approx(lwlrap(scores, truth), abs=1e-12)
    # The order of clips and of tags means nothing.
    mixed, tags = torch.randperm(len(scores)), torch.randperm(scores.shape[1])
    for measure in (mean_average_precision, lwlrap):
        assert measure(scores[mixed][:, tags], truth[mixed][:, tags]) == pytest.approx(
            measure(scores, truth), abs=1e-12
        )


@pytest.mark.parametrize("measure", [mean_average_precision, lwlrap])
def test_bounds(measure: object) -> None:
    assert callable(measure)
    scores, truth = draw(0)
    assert measure(truth.double(), truth) == 1.0
    assert 0 < measure(-truth.double(), truth) < measure(scores, truth) < 1
    assert measure(torch.full_like(scores, -torch.inf), truth) == 0.0
    assert measure(scores, torch.zeros_like(truth)) == 0.0


def test_what_is_never_found_still_counts() -> None:
    """Of two clips with the tag, one is at the top and the other is not scored: half are found, at precision 1."""
    scores, truth = torch.tensor([[3.0], [2.0], [-torch.inf]]), torch.tensor([[True], [False], [True]])
    assert mean_average_precision(scores, truth) == 0.5


def test_equal_scores_mean_chance() -> None:
    """With all scores equal, the average precision of a tag is its share of the clips."""
    _, truth = draw(3)
    share = truth.double().mean(dim=0)
    assert average_precisions(torch.zeros(truth.shape), truth).tolist() == pytest.approx(share.tolist())
