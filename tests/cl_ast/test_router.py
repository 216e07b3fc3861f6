"""The router: exact, blind to length, padding and level, and honest about what it does not know."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from cl_ast import checkpoints, synth
from cl_ast.audio import SAMPLE_RATE
from cl_ast.errors import BackboneError
from cl_ast.router import ALPHA, DIMENSIONS, PROTOTYPES, Router, RouterSpace, TaskRouting, learn, windows_of


@pytest.fixture(scope="module")
def space():
    return RouterSpace.of(checkpoints.load("ast-mini"))


def clips(maker, count, seed, seconds=1.2):
    random = np.random.default_rng(seed)
    return [synth.render(maker, random, seconds) for _ in range(count)]


def points(seed, count=40, centre=0):
    generator = torch.Generator().manual_seed(seed)
    around = torch.randn(DIMENSIONS, generator=torch.Generator().manual_seed(centre))
    return normalize(around + 0.8 * torch.randn(count, DIMENSIONS, generator=generator), dim=1)


def routing(centre):
    seeded = torch.Generator().manual_seed(0)
    return learn(
        points(centre, 60, centre), [i % 4 for i in range(60)], points(100 + centre, 40, centre), generator=seeded
    )


@given(st.permutations(range(6)), st.integers(1, 6))
@settings(max_examples=15, deadline=None)
def test_a_tasks_score_is_the_same_to_the_bit_whatever_else_is_there(order, kept):
    everything = {f"task-{i}": routing(i) for i in range(6)}
    some = {f"task-{i}": everything[f"task-{i}"] for i in order[:kept]}
    asked = points(7, 5, centre=order[0])
    alone = [dict(route.nearest) for route in Router(everything).choose(asked, nearest=6)]
    fewer = [dict(route.nearest) for route in Router(some).choose(asked, nearest=6)]
    for full, part in zip(alone, fewer, strict=True):
        assert part == {name: full[name] for name in part}


def test_clips_go_to_the_nearest_task_and_the_nearest_few_are_named():
    router = Router({f"task-{i}": routing(i) for i in range(3)})
    for route in router.choose(points(50, 20, centre=1), nearest=2):
        assert route.task == "task-1" == route.nearest[0][0]
        assert len(route.nearest) == 2
        assert route.score == route.nearest[0][1] >= route.nearest[1][1]


def test_known_clips_are_refused_about_as_often_as_stated():
    own = learn(points(1, 200, 3), [0] * 200, points(2, 400, 3), generator=torch.Generator().manual_seed(0))
    routes = Router({"task": own}).choose(points(4, 2000, 3))
    refused = np.mean([not route.known for route in routes])
    assert 0.4 * ALPHA < refused < 2 * ALPHA


def test_few_validation_clips_still_calibrate():
    own = learn(points(1, 60, 3), [0] * 60, points(2, 3, 3), generator=torch.Generator().manual_seed(0))
    known = np.mean([route.known for route in Router({"task": own}).choose(points(4, 300, 3))])
    assert known > 0.8


def test_clips_of_no_task_are_unknown():
    routes = Router({"task": routing(1)}).choose(points(8, 50, centre=9))
    assert not any(route.known for route in routes)


def test_a_task_adds_little(space):
    for classes in (2, 10, 50):
        described = points(3, 300, 0)
        state = learn(
            described, [i % classes for i in range(300)], described, generator=torch.Generator().manual_seed(0)
        )
        assert len(state.prototypes) <= PROTOTYPES
        assert sum(t.numel() * t.element_size() for t in state.tensors().values()) < 40_000


def test_routing_comes_back_from_its_tensors():
    own = routing(2)
    again = TaskRouting.from_tensors({name: tensor.clone() for name, tensor in own.tensors().items()})
    assert Router({"a": again}).choose(points(3, 4)) == Router({"a": own}).choose(points(3, 4))


@given(st.integers(1, 5 * SAMPLE_RATE), st.sampled_from([0.0, 1e-6, 0.1, 30.0]))
@settings(max_examples=40, deadline=None)
def test_every_window_is_one_second_of_finite_sound(length, level):
    clip = (level * np.random.default_rng(length).normal(size=length)).astype(np.float32)
    for window in windows_of(clip):
        assert window.shape == (SAMPLE_RATE,)
        assert window.dtype == np.float32
        assert np.isfinite(window).all()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda c: np.pad(c, (0, 3 * SAMPLE_RATE)), id="padded after"),
        pytest.param(lambda c: np.pad(c, (SAMPLE_RATE, 0)), id="padded before"),
        pytest.param(lambda c: 0.01 * c, id="quieter"),
        pytest.param(lambda c: np.tile(c, 3), id="three times as long"),
    ],
)
def test_padding_level_and_length_do_not_move_a_clip(space, change):
    heard = clips(synth.engine, 4, seed=1, seconds=1.0)
    changed = [change(clip).astype(np.float32) for clip in heard]
    same = (space.describe(heard) * space.describe(changed)).sum(dim=1)
    other = (space.describe(heard) * space.describe(clips(synth.birds, 4, seed=2))).sum(dim=1)
    assert same.min() > 0.98
    assert other.max() < 0.8


def test_a_description_does_not_depend_on_the_other_clips_of_its_batch(space):
    heard = clips(synth.dog, 3, 1) + clips(synth.rain, 2, 2, seconds=4.0)
    together = space.describe(heard)
    alone = torch.cat([space.describe([clip]) for clip in heard])
    assert torch.allclose(together, alone, atol=1e-4)
    assert space.describe([]).shape == (0, DIMENSIONS)


def test_the_background_comes_back_and_fits_one_trunk_only(space, tmp_path):
    heard = clips(synth.siren, 2, 5)
    again = RouterSpace.from_bytes(space.to_bytes(), space.backbone)
    assert torch.equal(again.describe(heard), space.describe(heard))
    from transformers import ASTConfig, ASTModel

    config = ASTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_length=64)
    ASTModel(config).save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match="another trunk"):
        RouterSpace.from_bytes(space.to_bytes(), checkpoints.load(str(tmp_path)))


def test_sounds_are_told_apart_and_noise_is_nobodys(space):
    def task(makers, seed):
        heard = [(clip, i) for i, maker in enumerate(makers) for clip in clips(maker, 12, seed + i)]
        held = [clip for i, maker in enumerate(makers) for clip in clips(maker, 8, seed + 50 + i)]
        described = space.describe([clip for clip, _ in heard])
        seeded = torch.Generator().manual_seed(0)
        return learn(described, [i for _, i in heard], space.describe(held), generator=seeded)

    router = Router({"machines": task([synth.engine, synth.siren], 10), "animals": task([synth.birds, synth.dog], 200)})
    routes = router.choose(space.describe([*clips(synth.engine, 6, 900), *clips(synth.birds, 6, 901)]))
    assert [route.task for route in routes] == ["machines"] * 6 + ["animals"] * 6
    noise = np.random.default_rng(0).normal(size=(8, SAMPLE_RATE)).astype(np.float32)
    assert sum(route.known for route in router.choose(space.describe(list(noise)))) <= 1
