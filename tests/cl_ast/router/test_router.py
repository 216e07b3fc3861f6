"""The routers: exact, each blind to the order of tasks, and honest about what they do not know."""

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from cl_ast.errors import CorruptRegistryError, NotFiniteError, RegistryError
from cl_ast.router import ALPHA, DIMENSIONS, KINDS, Router, TaskRouting, decide, learn
from cl_ast.router.calibration import calibrate, p_values
from cl_ast.router.moments import Moments
from cl_ast.router.prototypes import Prototypes
from cl_ast.router.task_routing import routing_in
from cl_ast.router.tie_break import confidence, confidence_calibration, more_confident

BOTH = pytest.mark.parametrize("kind", list(KINDS))


def points(seed: int, count: int = 40, centre: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    around = torch.randn(DIMENSIONS, generator=torch.Generator().manual_seed(centre))
    return normalize(around + 0.8 * torch.randn(count, DIMENSIONS, generator=generator), dim=1)


@cache
def routing(centre: int, kind: str) -> TaskRouting:
    return learn(
        points(centre, 60, centre),
        [i % 4 for i in range(60)],
        points(100 + centre, 40, centre),
        generator=torch.Generator().manual_seed(0),
        kind=kind,
        logits=3 * torch.randn(40, 4, generator=torch.Generator().manual_seed(centre)),
    )


@cache
def six_tasks(kind: str) -> dict[str, TaskRouting]:
    return {f"task-{i}": routing(i, kind) for i in range(6)}


@cache
def six_routed(kind: str) -> Router:
    return Router(six_tasks(kind))


@given(st.permutations(range(6)), st.integers(1, 6), st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_a_prototype_score_is_exactly_the_same_whatever_else_is_there(order: list[int], kept: int, count: int) -> None:
    some = {f"task-{i}": six_tasks("prototypes")[f"task-{i}"] for i in order[:kept]}
    clips = points(7, count, centre=order[0])
    whole = [dict(route.nearest) for route in six_routed("prototypes").choose(clips, nearest=6)]
    part = [dict(route.nearest) for route in Router(some).choose(clips, nearest=6)]
    alone = [dict(route.nearest) for clip in clips for route in Router(some).choose(clip[None], nearest=6)]
    assert part == alone == [{name: scores[name] for name in some} for scores in whole]


def test_what_makes_prototype_scores_exact() -> None:
    """Whole numbers whose sums float32 holds: the same as in 64-bit integers."""
    state = six_tasks("prototypes")["task-1"].state
    assert isinstance(state, Prototypes)
    clips = points(3, 200, 1)
    whole = (normalize(clips[:, : state.points.shape[1]], dim=1) * 4000).round()
    integers = (whole.long() @ state.points.long().T).amax(dim=1)
    assert torch.equal(state.fit(clips), integers.float() / 4000**2)
    assert integers.max() < 2**24


@pytest.mark.slow
@BOTH
@given(order=st.permutations(range(6)))
@settings(max_examples=10, deadline=None)
def test_the_order_of_tasks_changes_no_bit(kind: str, order: list[int]) -> None:
    clips = points(7, 5, centre=order[0])
    shuffled = {f"task-{i}": six_tasks(kind)[f"task-{i}"] for i in order}
    assert Router(shuffled).choose(clips, nearest=6) == six_routed(kind).choose(clips, nearest=6)


@BOTH
def test_a_task_that_was_there_leaves_no_trace(kind: str) -> None:
    clips = points(7, 5, centre=2)
    first = {f"task-{i}": routing(i, kind) for i in range(3)}
    before = Router(first).choose(clips)
    six_routed(kind).choose(clips)
    again = {name: one for name, one in six_tasks(kind).items() if name in first}
    assert Router(again).choose(clips) == before


@BOTH
def test_whether_a_clip_fits_does_not_depend_on_other_tasks(kind: str) -> None:
    clips = points(50, 30, centre=1)
    alone = {f"task-{i}": one.p_values(clips) for i, one in enumerate(six_tasks(kind).values())}
    for row, routes in enumerate(six_routed(kind).fitting(clips)):
        found = {route.task: route.p_value for route in routes}
        assert found == {name: p[row].item() for name, p in alone.items() if p[row] >= ALPHA}


def test_ridge_is_the_ridge_regression_of_scikit_learn() -> None:
    """On as few clips a task as it keeps directions, where nothing is left out of its sums."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    kind, counts = KINDS["ridge"], (20, 30, 12)
    training = [points(i, count, i) for i, count in enumerate(counts)]
    states = [kind.learn(x, torch.zeros(len(x)), torch.Generator()) for x in training]
    clips = points(9, 7, centre=1)
    described = torch.cat(training).double()
    x = torch.cat([described, torch.ones(len(described), 1)], dim=1).numpy()
    y = np.repeat(np.eye(3), counts, axis=0)
    weights = np.repeat(1 / np.array(counts), counts)
    solved = linear_model.Ridge(alpha=3e-4, fit_intercept=False).fit(x, y, sample_weight=weights)
    expected = solved.predict(np.hstack([clips.double().numpy(), np.ones((7, 1))]))
    # Directions are kept in half precision.
    np.testing.assert_allclose(kind.chooser(states)(clips).numpy(), expected, atol=5e-3)


@pytest.mark.slow
def test_the_discriminant_is_that_of_scikit_learn() -> None:
    """With as few clips a task as it keeps directions; scikit-learn shrinks each covariance in the same way."""
    analysis = pytest.importorskip("sklearn.discriminant_analysis")
    kind, counts = KINDS["discriminant"], (20, 30, 12)
    training = [points(i, count, i) for i, count in enumerate(counts)]
    states = [kind.learn(x, torch.zeros(len(x)), torch.Generator()) for x in training]
    clips = torch.cat([points(9, 7, centre) for centre in range(3)])
    theirs = analysis.LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1, priors=[1 / 3, 1 / 3, 1 / 3])
    theirs.fit(torch.cat(training).double().numpy(), np.repeat(np.arange(3), counts))
    np.testing.assert_allclose(kind.chooser(states)(clips), theirs.predict_proba(clips.double().numpy()), atol=5e-3)


def test_ridge_sums_hold_the_moments() -> None:
    x = points(1, 25, 3)
    state = KINDS["ridge"].learn(x, torch.zeros(25), torch.Generator())
    assert isinstance(state, Moments)
    second, first = state.sums()
    ones = torch.cat([x.double(), torch.ones(25, 1, dtype=torch.float64)], dim=1)
    assert torch.allclose(second, ones.T @ ones / 25, atol=1e-5)
    assert torch.allclose(first, ones.mean(dim=0), atol=1e-7)


def test_the_distance_is_that_of_the_whole_covariance() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, rest = torch.randn(6, generator=generator), torch.rand(6, generator=generator)
    state = Moments(mean, torch.randn(2, 6, generator=generator).half(), rest)
    clips = torch.randn(5, 6, generator=generator)
    factor = state.factor.double()
    mean_variance = (rest.double().sum() + factor.square().sum()) / 6
    covariance = factor.T @ factor + torch.diag(0.7 * rest.double() + 0.3 * mean_variance + 1e-6)
    away = (clips - mean).double()
    distance = (away @ torch.linalg.inv(covariance) * away).sum(dim=1)
    assert torch.allclose(state.fit(clips).double(), 1 / (1 + distance / 6), atol=1e-6)


@BOTH
def test_clips_go_to_the_nearest_task_and_the_nearest_few_are_named(kind: str) -> None:
    router = Router({f"task-{i}": routing(i, kind) for i in range(3)})
    for route in router.choose(points(50, 20, centre=1), nearest=2):
        assert route.task == "task-1" == route.nearest[0][0]
        assert len(route.nearest) == 2
        assert 1 >= route.score == route.nearest[0][1] >= route.nearest[1][1] >= 0


@pytest.mark.slow
@BOTH
def test_hundreds_of_tasks_are_one_matrix(kind: str) -> None:
    router = Router({f"task-{i:03}": routing(i % 5, kind) for i in range(200)})
    routes = router.choose(points(9, 20, 3), nearest=3)
    assert [route.task for route in routes] == ["task-003"] * 20  # equal scores: by name
    assert [name for name, _ in routes[0].nearest] == ["task-003", "task-008", "task-013"]


@pytest.mark.slow
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=300), st.integers(0, 1000))
def test_the_p_value_is_the_conformal_one_rounded_down_to_a_hundredth(validation: list[int], fit: int) -> None:
    """(1 + how many fit no better) / (n + 1), where rejecting is the exact test at every hundredth."""
    mine = p_values(calibrate(torch.tensor(validation) / 1000), torch.tensor([fit / 1000])).item()
    below = sum(one <= fit for one in validation)
    for i in range(1, 100):
        rank = i * (len(validation) + 1) // 100
        assert (mine < i / 100 - 1e-6) == (below < (rank if i < 5 else max(1, rank)))


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 19, 20, 40, 150])
def test_own_clips_are_refused_no_more_often_than_stated(count: int) -> None:
    """Exactly floor(alpha (n + 1)) / (n + 1) of fits without ties, over draws of the calibration too."""
    random = np.random.default_rng(count)
    trials = 4000
    refused = 0
    for _ in range(trials):
        fits = torch.from_numpy(random.random(count + 1)).float()
        refused += p_values(calibrate(fits[:-1]), fits[-1:]).item() < ALPHA - 1e-6
    expected = max(1, (count + 1) * 5 // 100) / (count + 1)
    assert expected <= max(ALPHA, 1 / (count + 1))
    assert abs(refused / trials - expected) < 5 * (expected * (1 - expected) / trials) ** 0.5 + 1e-9


@pytest.mark.slow
@BOTH
def test_few_validation_clips_still_calibrate(kind: str) -> None:
    own = learn(points(1, 60, 3), [0] * 60, points(2, 3, 3), generator=torch.Generator().manual_seed(0), kind=kind)
    routes = Router({"task": own}).choose(torch.cat([points(4, 300, 3), points(5, 300, 8)]))
    known = [route.known for route in routes]
    assert np.mean(known[:300]) > 0.8 and np.mean(known[300:]) < 0.1


@BOTH
def test_clips_of_no_task_are_unknown(kind: str) -> None:
    router = Router({"task": routing(1, kind)})
    strangers = points(8, 50, centre=9)
    assert not any(route.known for route in router.choose(strangers))
    assert router.fitting(strangers) == [[]] * 50


@BOTH
def test_a_task_adds_little(kind: str) -> None:
    for classes in (2, 10, 50):
        described = points(3, 300, 0)
        targets = [i % classes for i in range(300)]
        state = learn(described, targets, described, generator=torch.Generator().manual_seed(0), kind=kind)
        size = sum(t.numel() * t.element_size() for t in state.tensors().values())
        assert size <= {"discriminant": 71_000, "prototypes": 17_500, "ridge": 71_000}[kind]


@BOTH
def test_routing_comes_back_from_its_tensors(kind: str) -> None:
    own = routing(2, kind)
    tensors = {name: tensor.clone() for name, tensor in own.tensors().items()}
    again = TaskRouting.from_tensors(tensors, DIMENSIONS)
    assert (again.kind, again.description_id) == (kind, own.description_id)
    assert Router({"a": again}).choose(points(3, 4)) == Router({"a": own}).choose(points(3, 4))


@BOTH
def test_routing_is_read_without_the_rest_of_the_file(kind: str) -> None:
    from safetensors.torch import save

    own = {f"router.{name}": t for name, t in routing(2, kind).tensors().items()}
    found = routing_in(save({**own, "head.weight": torch.randn(3, 4), "layers.0.x": torch.randn(7).half()}))
    assert {f"router.{name}" for name in found} == set(own)
    assert all(torch.equal(found[name.removeprefix("router.")], t) for name, t in own.items())
    with pytest.raises(CorruptRegistryError, match=r"not numbers in router.calibration"):
        routing_in(save({**own, "router.calibration": torch.full((101,), torch.nan)}))
    with pytest.raises(CorruptRegistryError, match="I64"):
        routing_in(save({**own, "router.calibration": torch.zeros(101, dtype=torch.long)}))


CALIBRATION: dict[str, Callable[[dict[str, Tensor]], Tensor]] = {
    "falls": lambda t: t["calibration"].flip(0),
    "too short": lambda t: t["calibration"][:50],
    "whole numbers": lambda t: t["calibration"].long(),
    "beyond any fit": lambda t: t["calibration"] - 9,
}


@BOTH
@pytest.mark.parametrize("change", CALIBRATION.values(), ids=CALIBRATION)
def test_a_calibration_that_cannot_be_is_refused(kind: str, change: Callable[[dict[str, Tensor]], Tensor]) -> None:
    tensors = routing(1, kind).tensors()
    with pytest.raises(CorruptRegistryError):
        TaskRouting.from_tensors({**tensors, "calibration": change(tensors)}, DIMENSIONS)


STATES: dict[str, tuple[str, str, Callable[[Tensor], Tensor]]] = {
    "longer prototypes": ("prototypes", "prototypes", lambda t: (2 * t).short()),
    "prototypes in single precision": ("prototypes", "prototypes", lambda t: t.float()),
    "too many prototypes": ("prototypes", "prototypes", lambda t: t.repeat(9, 1)),
    "prototypes of another width": ("prototypes", "prototypes", lambda t: t[:, :100]),
    "a longer mean": ("ridge", "mean", lambda t: 3 * t),
    "wider directions": ("ridge", "factor", lambda t: 10 * t),
    "less than nothing left": ("ridge", "rest", lambda t: t - 0.5),
    "no directions": ("ridge", "factor", lambda t: t[:0]),
    "a mean of another width": ("ridge", "mean", lambda t: t[:9]),
    "a longer centre": ("discriminant", "centre", lambda t: 3 * t),
    "no directions of a normal": ("discriminant", "directions", lambda t: t[:0]),
}


@pytest.mark.parametrize(("kind", "name", "change"), STATES.values(), ids=STATES)
def test_a_state_that_would_draw_other_tasks_clips_is_refused(
    kind: str, name: str, change: Callable[[Tensor], Tensor]
) -> None:
    tensors = routing(1, kind).tensors()
    with pytest.raises(CorruptRegistryError, match=r"draw the clips|shapes or types"):
        TaskRouting.from_tensors({**tensors, name: change(tensors[name])}, DIMENSIONS)


def test_tensors_of_no_router_say_so() -> None:
    tensors = routing(1, "ridge").tensors()
    del tensors["rest"]
    with pytest.raises(CorruptRegistryError, match="cl-ast route"):
        TaskRouting.from_tensors(tensors, DIMENSIONS)


def test_two_routers_cannot_be_mixed() -> None:
    with pytest.raises(RegistryError, match=r"prototypes, ridge.*cl-ast route"):
        Router({"a": routing(1, "ridge"), "b": routing(2, "prototypes")})


@BOTH
def test_two_tasks_nearly_as_near_are_both_named(kind: str) -> None:
    """Between two tasks' centres; and not at either."""
    router = Router({f"task-{i}": routing(i, kind) for i in range(3)})
    ends = [points(5, 1, centre).mean(dim=0) for centre in (0, 1)]
    for _ in range(20):  # to the border between the two
        between = normalize(ends[0] + ends[1], dim=0)
        (route,) = router.choose(between[None])
        ends[route.task == "task-1"] = between
    assert route.runner_up is not None
    assert {route.task, route.runner_up.task} == {"task-0", "task-1"}
    assert route.nearest == route.runner_up.nearest
    assert dict(route.nearest)[route.runner_up.task] == route.runner_up.score <= route.score
    alone = Router({"task-1": routing(1, kind)}).choose(points(50, 5, centre=1))
    assert [one.runner_up for one in (*router.choose(points(50, 5, centre=1)), *alone)] == [None] * 10


@given(st.lists(st.floats(-9, 9), min_size=2, max_size=6))
def test_confidence_is_one_less_the_share_of_entropy(values: list[float]) -> None:
    logits = torch.tensor([values])
    chances = np.exp(np.array(values) - max(values))
    chances /= chances.sum()
    expected = (chances * np.log(chances)).sum() / np.log(len(values))
    assert abs(confidence(logits).item() - expected) < 1e-4


def test_each_head_is_more_confident_by_its_own_standards() -> None:
    """A head that is always sure is believed less than one that rarely is."""
    always, rarely = (
        confidence_calibration(torch.tensor([[9.0 + i / 100, 0.0] for i in range(40)])),
        confidence_calibration(torch.zeros(40, 2)),
    )
    fairly = torch.tensor([2.0, 0.0])
    assert more_confident(fairly, fairly, (always, rarely))
    assert not more_confident(fairly, fairly, (rarely, always))
    assert not more_confident(fairly, fairly, (rarely, rarely))


MUTATIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "not a number": lambda t, place: _with(t, place, float("nan")),
    "infinite": lambda t, place: _with(t, place, float("inf")),
    "another type": lambda t, place: t.to(torch.int32 if t.is_floating_point() else torch.float32),
    "one row or number less": lambda t, place: t[1:],
    "one dimension more": lambda t, place: t[None],
    "nothing": lambda t, place: t[:0],
}


def _with(tensor: Tensor, place: int, value: float) -> Tensor:
    changed = tensor.float().flatten().clone()
    changed[place % len(changed)] = value
    return changed.view(tensor.shape).to(tensor.dtype if tensor.is_floating_point() else torch.float32)


@pytest.mark.slow
@BOTH
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_learned_routing_passes_and_mutated_routing_is_refused(kind: str, data: st.DataObject) -> None:
    tensors = six_tasks(kind)[f"task-{data.draw(st.integers(0, 5))}"].tensors()
    TaskRouting.from_tensors(tensors, DIMENSIONS)
    how = data.draw(st.sampled_from(sorted(MUTATIONS)))
    left_alone = {"recipe"} | ({"prototypes"} if how == "one row or number less" else set())  # a task may have fewer
    name = data.draw(st.sampled_from(sorted(set(tensors) - left_alone)))
    changed = MUTATIONS[how](tensors[name], data.draw(st.integers(0, 10**6)))
    with pytest.raises(CorruptRegistryError):
        TaskRouting.from_tensors({**tensors, name: changed}, DIMENSIONS)


class Logits:
    """The answer of a task."""

    def __init__(self, *values: float) -> None:
        self.logits = torch.tensor(values)


@pytest.mark.parametrize("values", [(), (float("nan"), 0.0), (float("inf"), 0.0), (float("-inf"), 1.0)])
def test_a_head_without_numbers_never_wins_a_tie(values: tuple[float, ...]) -> None:
    router = Router({f"task-{i}": routing(i, "discriminant") for i in range(2)})
    ends = [points(5, 1, centre).mean(dim=0) for centre in (0, 1)]
    for _ in range(20):  # to the border between the two
        between = normalize(ends[0] + ends[1], dim=0)
        (route,) = router.choose(between[None])
        ends[route.task == "task-1"] = between
    for without in (["task-0"], ["task-1"], ["task-0", "task-1"]):
        given = {f"task-{i}": Logits(1.0, 0.0) for i in range(2)} | {name: Logits(*values) for name in without}
        ((chosen, answer),) = decide(router, between[None], partial(_given, given))
        assert answer is given[chosen.task]
        assert chosen.task == route.task if len(without) == 2 else chosen.task not in without


def _given(answers: dict[str, Logits], pairs: Sequence[tuple[int, str]]) -> list[Logits]:
    return [answers[task] for _, task in pairs]


def test_a_clip_that_no_task_fits_needs_no_answer() -> None:
    router = Router({f"task-{i}": routing(i, "discriminant") for i in range(2)})
    described = torch.cat([points(5, 6, 0), points(6, 6, 9)])
    given = {f"task-{i}": Logits(1.0, 0.0) for i in range(2)}
    answered: list[int] = []

    def answers(pairs: Sequence[tuple[int, str]]) -> list[Logits]:
        answered.extend(row for row, _ in pairs)
        return _given(given, pairs)

    nothing = Logits()
    found = decide(router, described, answers, for_unknown=nothing)
    several = [(one, one.runner_up or one) for one in router.choose(described)]
    fitted = {row for row, pair in enumerate(several) if any(one.known for one in pair)}
    assert 0 < len(fitted) < 12
    assert set(answered) == fitted
    for row, (wanted, one) in enumerate(zip(decide(router, described, partial(_given, given)), found, strict=True)):
        assert one[0].known == wanted[0].known
        assert one == wanted if row in fitted else one[1] is nothing


def test_scores_that_are_not_numbers_are_an_error() -> None:
    router = Router({"task": routing(1, "ridge")})
    for ask in (router.choose, router.fitting):
        with pytest.raises(NotFiniteError, match="cl-ast route"):
            ask(torch.full((1, DIMENSIONS), float("nan")))
