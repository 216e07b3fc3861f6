"""Limits for "unknown" and negatives: what they change, that they change nothing else, and what of them is refused."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from cl_ast.errors import CorruptRegistryError, RegistryError
from cl_ast.router import ALPHA, DIMENSIONS, KINDS, Router, TaskRouting, checked_alpha, learn, unknown_negatives
from cl_ast.router.calibration import LOWEST, calibrate, lowest_p
from cl_ast.router.task_routing import alpha_in
from cl_ast.terminal.rendering import task_page

EACH_KIND = pytest.mark.parametrize("kind", list(KINDS))


def points(seed: int, count: int, centre: int, aside: float = 0.0) -> Tensor:
    """Descriptions around a centre, moved aside in a direction of their own."""
    generator = torch.Generator().manual_seed(seed)
    around = torch.randn(DIMENSIONS, generator=torch.Generator().manual_seed(centre))
    aside_of = aside * torch.randn(DIMENSIONS, generator=torch.Generator().manual_seed(99))
    return normalize(around + aside_of + 0.8 * torch.randn(count, DIMENSIONS, generator=generator), dim=1)


def routing(kind: str, centre: int = 1, negatives: Tensor | None = None, validation: int = 200) -> TaskRouting:
    return learn(
        points(centre, 60, centre),
        [0] * 60,
        points(100 + centre, validation, centre),
        generator=torch.Generator().manual_seed(0),
        kind=kind,
        negatives=negatives,
    )


def unknown(router: Router, clips: Tensor) -> float:
    return sum(not route.known for route in router.choose(clips)) / len(clips)


@pytest.mark.slow
@EACH_KIND
def test_negatives_are_unknown_and_own_clips_are_so_no_more_often(kind: str) -> None:
    """Sounds near the task, of a kind that it had accepted."""
    near, taught = points(7, 300, 1, aside=0.25), points(8, 60, 1, aside=0.25)
    without, with_them = Router({"task": routing(kind)}), Router({"task": routing(kind, negatives=taught)})
    assert unknown(with_them, near) > unknown(without, near) + 0.4
    assert unknown(with_them, points(9, 300, 1)) <= ALPHA + 0.04
    routes = [route for route in with_them.choose(near) if not route.known]
    assert {route.nearer for route in routes} >= {"negatives"}
    assert unknown_negatives(routing(kind, negatives=taught), taught, copies=1) > 30


@EACH_KIND
def test_negatives_that_are_own_clips_make_no_more_of_them_unknown(kind: str) -> None:
    """The calibration is made with the negatives, so that the stated share holds whatever they are."""
    own = routing(kind, negatives=points(8, 60, 1))
    assert unknown(Router({"task": own}), points(9, 400, 1)) <= ALPHA + 0.04


@pytest.mark.slow
@EACH_KIND
def test_negatives_of_one_task_change_no_bit_for_another(kind: str) -> None:
    tasks = {f"task-{i}": routing(kind, i, validation=30) for i in range(3)}
    tuned = tasks | {"task-1": routing(kind, 1, points(8, 40, 1, aside=0.25), validation=30)}
    tuned["task-1"] = replace(tuned["task-1"], alpha=0.3)
    clips = torch.cat([points(9, 20, i) for i in range(3)])
    before, after = Router(tasks).choose(clips), Router(tuned).choose(clips)
    assert [(route.task, route.score, route.nearest) for route in before] == [
        (route.task, route.score, route.nearest) for route in after
    ]
    assert [route for route in before if route.task != "task-1"] == [r for r in after if r.task != "task-1"]
    shuffled = {name: tuned[name] for name in ("task-2", "task-0", "task-1")}
    assert Router(shuffled).choose(clips) == after


@pytest.mark.slow
@EACH_KIND
def test_the_limit_decides_and_changes_no_p_value(kind: str) -> None:
    router, clips = Router({"task": routing(kind)}), torch.cat([points(9, 50, 1), points(9, 50, 5)])
    usual = router.choose(clips)
    for alpha in (0.0, 0.01, 0.29, 0.57, 1.0):
        routes = router.with_alpha(alpha).choose(clips)
        assert [route.p_value for route in routes] == [route.p_value for route in usual]
        assert all(route.known == (route.p_value >= alpha) and route.alpha == alpha for route in routes)
        fitting = router.with_alpha(alpha).fitting(clips)
        assert [bool(several) for several in fitting] == [route.known for route in routes]
        stored = Router({"task": replace(routing(kind), alpha=alpha)})
        assert stored.choose(clips) == routes
    assert router.choose(clips) == usual and router.with_alpha(None).choose(clips) == usual


@EACH_KIND
def test_the_nearest_tasks_have_p_values_of_their_own(kind: str) -> None:
    tasks = {f"task-{i}": routing(kind, i, validation=30) for i in range(3)}
    clips = torch.cat([points(9, 5, i) for i in range(3)])
    for row, route in enumerate(Router(tasks).with_p_values(clips, Router(tasks).choose(clips, nearest=2))):
        each = [tasks[name].p_values(clips[row : row + 1]).item() for name, _ in route.nearest]
        assert list(route.p_values) == pytest.approx(each, abs=0.011)  # rows of another batch round otherwise
        assert route.p_values[0] == pytest.approx(route.p_value, abs=0.011)


@pytest.mark.parametrize(("count", "lowest"), [(5, 0.04), (20, 0.04), (40, 0.02), (98, 0.01), (99, 0.0), (500, 0.0)])
def test_few_clips_cannot_tell_below_a_limit(count: int, lowest: float) -> None:
    calibration = calibrate(torch.linspace(0, 1, count))
    assert lowest_p(calibration) == lowest
    one = replace(routing("prototypes"), calibration=calibration)
    blunt = Router({"a": one}).with_alpha(0.01).never_unknown()
    assert blunt == (["a"] if lowest >= 0.01 else [])
    assert Router({"a": one}).with_alpha(0).never_unknown() == Router({"a": one}).never_unknown() == []


@pytest.mark.parametrize("alpha", [-0.01, 1.01, 0.015, math.nan, math.inf, "0.05", None, True])
def test_a_limit_that_cannot_be_is_refused(alpha: float) -> None:
    with pytest.raises(RegistryError, match="a limit for"):
        checked_alpha(alpha)


@EACH_KIND
def test_limit_and_negatives_come_back_from_their_tensors(kind: str) -> None:
    own = replace(routing(kind, negatives=points(8, 40, 1, aside=0.25)), alpha=0.29)
    tensors = {name: tensor.clone() for name, tensor in own.tensors().items()}
    again, clips = TaskRouting.from_tensors(tensors, DIMENSIONS), points(7, 100, 1, aside=0.25)
    assert again.alpha == 0.29
    assert Router({"a": again}).choose(clips) == Router({"a": own}).choose(clips)
    assert not {"alpha", "negative.mean", "negative.prototypes"} & set(
        routing(kind).tensors()
    )  # older releases read it


WRONG: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    "a limit over 1": lambda t: {"alpha": torch.tensor([101], dtype=torch.uint8)},
    "a limit in single precision": lambda t: {"alpha": torch.tensor([5.0])},
    "two limits": lambda t: {"alpha": torch.tensor([5, 5], dtype=torch.uint8)},
    "negatives that are longer": lambda t: {"negative.centre": 3 * t["negative.centre"]},
    "negatives of another width": lambda t: {"negative.rest": t["negative.rest"][:100]},
    "negatives that are no numbers": lambda t: {"negative.directions": t["negative.directions"] * torch.nan},
    "negatives with another part": lambda t: {"negative.more": t["negative.centre"]},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_limit_or_negatives_that_cannot_be_are_refused(change: Callable[..., dict[str, Tensor]]) -> None:
    tensors = replace(routing("discriminant", negatives=points(8, 40, 1)), alpha=0.1).tensors()
    TaskRouting.from_tensors(tensors, DIMENSIONS)
    with pytest.raises(CorruptRegistryError):
        TaskRouting.from_tensors({**tensors, **change(tensors)}, DIMENSIONS)
    missing = {name: tensor for name, tensor in tensors.items() if name != "negative.rest"}
    with pytest.raises(CorruptRegistryError, match="no kind"):
        TaskRouting.from_tensors(missing, DIMENSIONS)


def test_the_limit_is_read_without_the_rest_of_the_file() -> None:
    from safetensors.torch import save

    def file(alpha: float) -> bytes:
        tensors = replace(routing("ridge"), alpha=alpha).tensors()
        return bytes(save({f"router.{name}": tensor for name, tensor in tensors.items()}))

    assert alpha_in(file(0.2)) == 0.2 and alpha_in(file(ALPHA)) == ALPHA
    assert alpha_in(save({"head.weight": torch.zeros(2, 2)})) == ALPHA
    assert alpha_in(save({"router.alpha": torch.tensor([200], dtype=torch.uint8)})) == ALPHA
    assert task_page.USUAL_ALPHA == ALPHA and LOWEST < 0
