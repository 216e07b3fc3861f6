"""The intervals of accuracies, compared with closed forms and with scipy."""

from typing import Any

import numpy as np
import pytest

from cl_ast.experiments.bootstrap import RESAMPLES, interval, ranks, resampled

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize(("right", "clips"), [(75, 80), (40, 80), (1, 30), (9_800, 11_005)])
def test_one_training_has_the_quantiles_of_a_binomial(right: int, clips: int) -> None:
    drawn = resampled([np.arange(clips)[None] < right])
    binomial = stats.binom(clips, right / clips)
    assert drawn.mean() == pytest.approx(right / clips, abs=4 * binomial.std() / clips / np.sqrt(RESAMPLES))
    assert drawn.std() == pytest.approx(binomial.std() / clips, rel=0.04)
    for found, share in zip(interval(drawn, right / clips), (0.025, 0.975), strict=True):
        assert found == pytest.approx(binomial.ppf(share) / clips, abs=max(1.01, 0.1 * binomial.std()) / clips)


def test_several_seeds_and_folds_agree_with_scipy() -> None:
    random = np.random.default_rng(1)
    folds = [random.random((3, clips)) < 0.7 for clips in (60, 90)]

    def mean(first: Any, second: Any, axis: int = -1) -> Any:
        return (first.mean(axis) + second.mean(axis)) / 2

    by_clip = tuple(fold.mean(axis=0) for fold in folds)  # all seeds are tested on the same draw
    theirs = stats.bootstrap(by_clip, mean, n_resamples=10_000, method="percentile", random_state=0)
    assert interval(resampled(folds), 0.7) == pytest.approx(tuple(theirs.confidence_interval), abs=0.006)
    assert resampled(folds).std() == pytest.approx(theirs.standard_error, rel=0.04)


@pytest.mark.parametrize("clips", [1, 6, 400])
def test_where_all_clips_are_right_or_none_is_fewer_clips_say_less(clips: int) -> None:
    """The interval ends there, and begins where Jeffreys' does."""
    folds = [np.ones((2, clips), dtype=bool), np.ones((1, 2 * clips), dtype=bool)]
    low, high = interval(resampled(folds), 1.0)
    theirs = stats.beta.ppf(0.025, 3 * clips + 0.5, 0.5)
    assert (low, high) == pytest.approx((theirs, 1.0), abs=0.1 * (1 - theirs)) and high == 1
    low, high = interval(resampled([~fold for fold in folds]), 0.0)
    assert (low, high) == pytest.approx((0.0, 1 - theirs), rel=0.1) and low == 0


def test_a_fold_weighs_as_many_trainings_as_it_has() -> None:
    all_right, all_wrong = np.ones((3, 10), dtype=bool), np.zeros((1, 40), dtype=bool)
    assert interval(resampled([all_right, all_wrong]), 0.75) == (0.75, 0.75)


def test_the_same_results_have_the_same_interval() -> None:
    right = np.random.default_rng(0).random((2, 50)) < 0.5
    assert interval(resampled([right]), 0.5) == interval(resampled([right]), 0.5)


def test_only_intervals_that_part_are_ranked() -> None:
    assert ranks([(0.5, 0.7), (0.6, 0.8), (0.65, 0.9)]) == [None, None, None]
    assert ranks([(0.5, 0.6), (0.7, 0.8), (0.55, 0.75), (0.9, 0.95)]) == [3, 2, 2, 1]
    assert ranks([]) == []
    assert ranks([(0.2, 0.3)]) == [None]
