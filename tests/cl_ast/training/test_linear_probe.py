"""The head's start: a linear probe, from which a training goes on and below which it never ends."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cl_ast.errors import TrainingError
from cl_ast.training.linear_probe import fit
from cl_ast.training.options import Hyperparameters
from cl_ast.training.trainer import accuracy_of, train
from tests.cl_ast.conftest import Fresh, Toy

LABELS = ("tone", "noise")
SHORT = Hyperparameters(epochs=1, batch_size=8, learning_rate=1e-6)


@pytest.mark.parametrize("penalty", [1.0, 0.1])
def test_it_is_the_logistic_regression_of_scikit_learn(penalty: float) -> None:
    generator = np.random.default_rng(0)
    targets = np.arange(90) % 3
    vectors = generator.normal(size=(90, 8)) * np.arange(1, 9) + targets[:, None] * np.linspace(-1, 1, 8) + 5
    scaled = StandardScaler().fit_transform(vectors)
    theirs = LogisticRegression(C=1 / (90 * penalty), tol=1e-8, max_iter=1000).fit(scaled, targets)
    weight, bias = fit(torch.tensor(vectors).float(), torch.tensor(targets), 3, penalty)
    ours = (torch.tensor(vectors).float() @ weight.T + bias).softmax(dim=-1)
    np.testing.assert_allclose(ours.numpy(), theirs.predict_proba(scaled), atol=2e-3)


def test_a_dimension_that_never_moves_and_a_single_clip_are_no_trouble() -> None:
    vectors = torch.tensor([[1.0, 7.0], [-1.0, 7.0]])
    weight, bias = fit(vectors, torch.tensor([0, 1]), 2)
    assert (vectors @ weight.T + bias).argmax(dim=1).tolist() == [0, 1]
    assert all(torch.isfinite(one).all() for one in fit(vectors[:1], torch.tensor([0]), 1))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["linear", "conformer:k=8", "prompt", "full", "lora:from=1"])
def test_training_starts_at_the_probe(fresh: Fresh, toy: Toy, method: str) -> None:
    """At a rate that moves nothing, what is there in the end is where it started."""
    probed, random = fresh(method, labels=LABELS, frames=30), fresh(method, labels=LABELS, frames=30)
    train(probed, toy(0, 32), toy(32, 40), SHORT)
    train(random, toy(0, 32), toy(32, 40), replace(SHORT, head="fresh"))
    assert accuracy_of(probed, toy(0, 32))[0] > 0.95
    assert accuracy_of(probed, toy(0, 32))[1] < accuracy_of(random, toy(0, 32))[1] / 2


def test_masks_of_the_training_do_not_change_the_probe(fresh: Fresh, toy: Toy) -> None:
    plain, masked = fresh("lora", labels=LABELS, frames=30), fresh("lora", labels=LABELS, frames=30)
    still = replace(SHORT, learning_rate=1e-12, weight_decay=0)
    train(plain, toy(0, 16), toy(32, 40), still)
    train(masked, toy(0, 16), toy(32, 40), replace(still, frequency_mask=60, time_mask=20))
    torch.testing.assert_close(masked.head["head.weight"], plain.head["head.weight"], rtol=0, atol=1e-6)


def test_a_training_that_only_harms_leaves_the_probe(fresh: Fresh, toy: Toy) -> None:
    model = fresh("full", labels=LABELS, frames=30)
    trained = train(model, toy(0, 32), toy(32, 40), replace(SHORT, learning_rate=10.0))
    assert trained.epoch == 0
    assert accuracy_of(model, toy(32, 40)) == (trained.accuracy, trained.loss)
    assert trained.accuracy > 0.8


def test_another_start_is_refused() -> None:
    with pytest.raises(TrainingError, match="'random'; it is one of probe, fresh"):
        Hyperparameters(head="random")
