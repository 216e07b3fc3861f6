"""The strategies: each formula against an independent one, and whole trainings against Avalanche's."""

import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import baselines_toy as toy
from cl_ast.baselines.buffer import Buffer
from cl_ast.baselines.derpp import DarkReplay, logit_distance
from cl_ast.baselines.er import Replay
from cl_ast.baselines.ewc import ElasticWeights, elastic
from cl_ast.baselines.examples import Examples, Vectors
from cl_ast.baselines.joint import Joint
from cl_ast.baselines.lwf import Distilled, distillation
from cl_ast.baselines.naive import Naive
from cl_ast.baselines.ncm import NearestMean
from cl_ast.baselines.network import probe_accuracy
from cl_ast.baselines.outputs import Outputs, cross_entropy
from cl_ast.baselines.ranpac import RIDGES, RandomProjection, solved

SEEDS = 3  # enough for the mean; the file has ten
AVALANCHE = Path(toy.__file__).with_name("baselines_avalanche.json")


class Perceptron:
    """The toy's network, as the strategies train it."""

    def __init__(self, seed: int = 0) -> None:
        self._model = toy.perceptron(seed)

    def logits(self, *inputs: Tensor) -> Tensor:
        found: Tensor = self._model(*inputs)
        return found

    def vectors(self, *inputs: Tensor) -> Tensor:
        found: Tensor = self._model[:2](*inputs)
        return found

    def trainable(self) -> list[Tensor]:
        return list(self._model.parameters())

    def training_mode(self) -> AbstractContextManager[None]:
        return nullcontext()

    def penalty(self) -> Tensor | None:
        return None

    def start(self, examples: Examples, classes: Tensor) -> None:
        pass


def outputs(scenario: str = "cil") -> Outputs:
    return Outputs(scenario, toy.CLASSES_OF, toy.CLASSES)


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


STRATEGIES: dict[str, Callable[[int], Naive]] = {
    "naive": lambda seed: Naive(Perceptron(seed), outputs(), toy.OPTIONS),
    "er": lambda seed: Replay(Perceptron(seed), outputs(), toy.OPTIONS, toy.KEPT),
    "ewc": lambda seed: ElasticWeights(Perceptron(seed), outputs(), toy.OPTIONS, toy.STRENGTH),
    "lwf": lambda seed: Distilled(Perceptron(seed), outputs(), toy.OPTIONS, toy.ALPHA),
    "joint": lambda seed: Joint(lambda: Perceptron(seed), outputs(), toy.OPTIONS),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_the_last_accuracy_is_avalanches_within_a_standard_deviation(name: str) -> None:
    theirs = json.loads(AVALANCHE.read_text(encoding="utf-8"))["accuracies"][name]
    runs = [last_accuracies(STRATEGIES[name](seed), seed) for seed in range(SEEDS)]
    for over, values in theirs.items():
        ours = [run[over] for run in runs]
        assert statistics.mean(ours) == pytest.approx(statistics.mean(values), abs=statistics.stdev(values)), over


def last_accuracies(strategy: Naive, seed: int) -> dict[str, float]:
    torch.manual_seed(seed)
    steps = toy.steps(seed, "train")
    for step in steps:
        strategy.learn(step, step)
    everything = sum(toy.steps(seed, "test")[1:], toy.steps(seed, "test")[0])
    return toy.accuracies(strategy.logits(everything), everything.targets)


# What the scenarios allow


def test_the_scenarios_allow_other_classes() -> None:
    two = torch.tensor([0, 1])
    by_step, all_seen = outputs("til"), outputs("cil")
    for one in (by_step, all_seen):
        one.see(torch.tensor([0]))
        assert one.see(torch.tensor([1])).tolist() == [2, 3]
    assert by_step.allowed(two).nonzero()[:, 1].tolist() == [0, 1, 2, 3]
    assert by_step.allowed(two)[1].nonzero()[:, 0].tolist() == [2, 3]
    assert all_seen.allowed(two)[1].nonzero()[:, 0].tolist() == [0, 1, 2, 3]
    assert [own.tolist() for own in by_step.answered_together([0, 1])] == [[0, 1], [2, 3]]
    assert [own.tolist() for own in all_seen.answered_together([0, 1])] == [[0, 1, 2, 3]]
    same = Outputs("dil", [(0, 1), (0, 1)], 2)
    assert same.see(torch.tensor([0])).tolist() == [0, 1]
    assert same.see(torch.tensor([1])).tolist() == []


def test_the_cross_entropy_is_over_the_classes_that_are_allowed() -> None:
    logits = torch.tensor([[1.0, 2.0, 50.0], [0.5, 0.1, 0.2]])
    allowed = torch.tensor([[True, True, False], [True, True, True]])
    first = -2.0 + np.log(np.exp(1.0) + np.exp(2.0))
    second = -0.2 + np.log(np.exp(0.5) + np.exp(0.1) + np.exp(0.2))
    assert float(cross_entropy(logits, allowed, torch.tensor([1, 2]))) == pytest.approx((first + second) / 2)


# The formulas


def test_the_elastic_penalty_is_that_of_the_paper() -> None:
    strategy = ElasticWeights(Perceptron(), outputs(), toy.OPTIONS, 3.0)
    first, second = toy.steps(0, "train")[:2]
    strategy.learn(first, first)
    then = [tensor.clone() for tensor in strategy.network.trainable()]
    # The empirical Fisher information, gradient by gradient, over the two classes that were seen.
    model, wanted = toy.perceptron(0), [torch.zeros_like(tensor) for tensor in then]
    model.load_state_dict(dict(zip(model.state_dict(), then, strict=True)))
    for vector, target in zip(*(first.sources[0].inputs(first.places[:, 1].tolist())[0], first.targets), strict=True):
        model.zero_grad()
        model(vector)[:2].log_softmax(dim=0)[target].backward()
        for total, parameter in zip(wanted, model.parameters(), strict=True):
            assert parameter.grad is not None
            total += parameter.grad**2 / len(first)
    for found, expected in zip(strategy.fisher(first), wanted, strict=True):
        torch.testing.assert_close(found, expected)
    strategy.outputs.see(second.steps)
    with torch.no_grad():
        for tensor in strategy.network.trainable():
            tensor += 0.1
    spring = sum(float((fisher * 0.1**2).sum()) for fisher in wanted)
    plain = float(Naive.loss(strategy, second, range(8)))
    assert float(strategy.loss(second, range(8))) == pytest.approx(plain + 3.0 / 2 * spring, rel=1e-5)


def test_each_step_has_a_penalty_of_its_own() -> None:
    ones, now = [torch.ones(2), torch.ones(1)], [torch.tensor([1.0, 2.0]), torch.tensor([3.0])]
    assert float(elastic(ones, now, [torch.zeros(2), torch.zeros(1)])) == 14.0
    strategy = ElasticWeights(Perceptron(), outputs(), toy.OPTIONS, 1.0)
    before = len(strategy.kept())
    for step in toy.steps(0, "train")[:2]:
        strategy.learn(step, step)
    assert len(strategy.kept()) == before * (1 + 2 * 2)  # Fisher information and weights of two steps


def test_the_distillation_is_the_divergence_of_softened_probabilities() -> None:
    random = np.random.default_rng(0)
    now, before = random.normal(size=(2, 4, 3))

    def softened(logits: np.ndarray) -> np.ndarray:
        powers = np.exp(logits / 2)
        shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
        return shares

    wanted = (softened(before) * np.log(softened(before) / softened(now))).sum(axis=1).mean()
    found = distillation(torch.tensor(now), torch.tensor(before), 2.0)
    assert float(found) == pytest.approx(wanted)


@pytest.mark.parametrize(("scenario", "terms"), [("cil", [[0, 1, 2, 3]]), ("til", [[0, 1], [2, 3]])])
def test_the_distillation_is_over_the_classes_of_earlier_steps(scenario: str, terms: list[list[int]]) -> None:
    strategy = Distilled(Perceptron(), outputs(scenario), toy.OPTIONS, 2.0)
    *earlier, last = toy.steps(0, "train")[:3]
    for step in earlier:
        strategy.learn(step, step)
    strategy.outputs.see(last.steps)
    strategy.before(last)
    before = strategy.logits(last)[:8]
    with torch.no_grad():
        strategy.network.trainable()[-1].add_(3 * torch.arange(10.0))
    now = strategy.logits(last)[:8]
    wanted = sum(float(distillation(now[:, own], before[:, own], 2.0)) for own in terms)
    plain = float(Naive.loss(strategy, last, range(8)))
    assert wanted > 0.1
    assert float(strategy.loss(last, range(8))) == pytest.approx(plain + 2.0 * wanted, rel=1e-5)


def test_der_adds_the_distance_to_stored_logits_and_the_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = DarkReplay(Perceptron(), outputs(), toy.OPTIONS, toy.KEPT, alpha=0.7, beta=0.3)
    first, second = toy.steps(0, "train")[:2]
    strategy.learn(first, first)
    strategy.outputs.see(second.steps)
    draws: list[Tensor] = []
    draw = Buffer.draw

    def noted(self: Buffer, count: int) -> Tensor:
        draws.append(draw(self, count))
        return draws[-1]

    monkeypatch.setattr(Buffer, "draw", noted)
    buffer = strategy._buffer.examples
    assert buffer is not None
    stored = strategy.logits(buffer)  # of the network as it was after the step
    with torch.no_grad():
        strategy.network.trainable()[-1].add_(torch.arange(10.0))
    now = strategy.logits(buffer).double().numpy()
    found = float(strategy.loss(second, range(6)))
    one, other = (part.numpy() for part in draws)
    assert len(one) == len(other) == 6 and one.tolist() != other.tolist()
    squared = ((now - stored.numpy())[one][:, :2] ** 2).mean()  # of the two classes that were seen then
    likely = np.exp(now[other][:, :4])
    classes = -np.log(likely[range(6), buffer.targets[other].numpy()] / likely.sum(axis=1)).mean()
    plain = float(Naive.loss(strategy, second, range(6)))
    assert found == pytest.approx(plain + 0.7 * squared + 0.3 * classes, rel=1e-5)


def test_the_distance_is_over_the_classes_that_were_seen_when_logits_were_stored() -> None:
    then = torch.tensor([[True, False], [True, True]])
    found = logit_distance(torch.tensor([[1.0, 9.0], [2.0, 4.0]]), torch.zeros(2, 2), then)
    assert float(found) == pytest.approx((1 + 4 + 16) / 3)


def test_a_buffer_has_some_clips_of_each_class_of_each_step() -> None:
    buffer = Buffer(3)
    for step in toy.steps(0, "train")[:2]:
        buffer.add(step)
    kept = buffer.examples
    assert kept is not None
    assert kept.targets.bincount().tolist() == [3, 3, 3, 3]
    assert kept.steps.bincount().tolist() == [6, 6]
    assert len(set(kept.places[:, 1].tolist())) == 12
    assert len(buffer.draw(5)) == 5
    assert len(buffer.draw(50)) == 12


def test_the_nearest_mean_is_by_cosine_and_the_order_does_not_matter() -> None:
    steps = toy.steps(0, "train")
    found = []
    for order in (steps, steps[::-1]):
        ncm = NearestMean(outputs(), toy.WIDTH)
        for step in order:
            ncm.learn(step, step)
        found.append(ncm.logits(steps[2]))
    torch.testing.assert_close(*found)
    vectors, targets = (part.double().numpy() for part in toy.clips(0)["train"])
    means = np.stack([vectors[targets == one].mean(axis=0) for one in range(toy.CLASSES)])
    mine = vectors[targets // 2 == 2]
    cosines = mine @ means.T / np.linalg.norm(mine, axis=1)[:, None] / np.linalg.norm(means, axis=1)
    np.testing.assert_allclose(found[0].numpy(), cosines, atol=1e-5)


def test_ranpac_is_ridge_regression_on_all_steps_at_once() -> None:
    steps, validation = toy.steps(0, "train"), toy.steps(0, "test")
    ranpac = RandomProjection(outputs(), toy.WIDTH, 60)
    random = ranpac._random.numpy()
    for step, other in zip(steps, validation, strict=True):
        ranpac.learn(step, other)
    vectors, targets = (part.double().numpy() for part in toy.clips(0)["train"])
    expanded, wanted = np.maximum(vectors @ random, 0), np.eye(toy.CLASSES)[targets.astype(int)]

    def weights(ridge: float) -> np.ndarray:
        solution: np.ndarray = np.linalg.solve(expanded.T @ expanded + ridge * np.eye(60), expanded.T @ wanted)
        return solution

    tested, classes = (part.double().numpy() for part in toy.clips(0)["test"])
    newest = classes >= 8
    expanded_tests, one_hot = np.maximum(tested @ random, 0), np.eye(toy.CLASSES)[classes.astype(int)]
    errors = {one: ((expanded_tests[newest] @ weights(one) - one_hot[newest]) ** 2).mean() for one in RIDGES}
    best = min(errors, key=lambda one: errors[one])
    assert RIDGES[0] < best < RIDGES[-1]  # The choice matters.
    everything = sum(validation[1:], validation[0])
    np.testing.assert_allclose(ranpac.logits(everything).numpy(), expanded_tests @ weights(best), atol=1e-6)


def test_a_singular_sum_is_no_trouble() -> None:
    one = torch.ones(1, 3, dtype=torch.float64)
    found = solved(one.T @ one, one.T @ torch.eye(1, dtype=torch.float64), one, torch.ones(1, 1, dtype=torch.float64))
    torch.testing.assert_close(one @ found, torch.ones(1, 1, dtype=torch.float64), atol=1e-3, rtol=0)


def test_forward_transfer_probes_the_features_as_they_are_now() -> None:
    first, second = toy.steps(0, "train")[:2]
    tested = toy.steps(0, "test")[1]
    strategy = STRATEGIES["naive"](0)
    fresh = toy.perceptron(0)[:2]
    vectors, classes = (part[toy.clips(0)["train"][1] // 2 == 1] for part in toy.clips(0)["train"])
    before = strategy.features(second)
    torch.testing.assert_close(before, fresh(vectors).detach())
    strategy.learn(first, first)
    after = strategy.features(second)
    assert before is not None and after is not None
    assert (after - before).abs().max() > 0.1
    features = strategy.features(tested)
    assert features is not None
    right = probe_accuracy(after, classes, features, tested.targets)
    wrong = probe_accuracy(after, classes, features, 5 - tested.targets)  # 2 for 3, and 3 for 2
    assert right > 0.8
    assert right + wrong == pytest.approx(1)


# Clips of different lengths


def test_examples_of_several_sources_keep_their_order() -> None:
    short, long = Vectors(torch.arange(3.0)[:, None]), Vectors(10 + torch.arange(4.0)[:, None].expand(4, 2))
    first = Examples.of(short, torch.arange(3), torch.arange(3), 0)
    second = Examples.of(long, torch.tensor([3, 1]), torch.tensor([4, 5]), 1)
    both = first + second + first
    assert len(both.sources) == 2
    picked = both.pick([4, 0, 3, 6])
    assert picked.apply(lambda vectors: vectors[:, :1]).flatten().tolist() == [11, 0, 13, 1]
    assert picked.targets.tolist() == [5, 0, 4, 1]
    assert picked.steps.tolist() == [1, 0, 1, 0]
