"""Many tasks in one batch: each row answers as its task alone does."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cl_ast.adapters.listing import SHOWN
from cl_ast.adapters.placement import act
from cl_ast.adapters.spec import parse
from cl_ast.backbone.backbone import Backbone
from cl_ast.tasks import mixed_batch
from cl_ast.tasks.task_model import TaskModel
from tests.cl_ast.conftest import BackboneOf, Fresh, Randomise, read_again

SPECS = tuple(
    dict.fromkeys(parse(text).text for text in (*SHOWN, "lora:qv,from=1", "conformer:k=8,from=1", "ltsft:k=99"))
)
FRAMES = (30, 60)
Tasks = Callable[[str, int], TaskModel]


@pytest.fixture(scope="module")
def task(fresh: Fresh, backbone: Backbone) -> Tasks:
    """task(method, seed): as if trained, with a number of classes, a length and settings of its own."""
    made: dict[tuple[str, int], TaskModel] = {}

    def make(text: str, seed: int) -> TaskModel:
        if (text, seed) not in made:
            labels = tuple("abcdef"[: 2 + seed % 4])
            more = {"positions": "zeros"} if seed % 5 == 4 else {"pooling": "mean+std"} if seed % 5 == 3 else {}
            model = fresh(text, seed, labels=labels, frames=FRAMES[seed % 3 == 2], **more)
            generator = torch.Generator().manual_seed(seed)
            for name, tensor in model.state().items():
                if tensor.is_floating_point():
                    noise = 0.1 * torch.randn(tensor.shape, generator=generator)
                    tensor.add_(noise.abs() if name.endswith("batchnorm.var") else noise)
            model.finish()
            made[text, seed] = model
        return made[text, seed]

    return make


def _batch(models: Sequence[TaskModel]) -> list[mixed_batch.Row]:
    generator = torch.Generator().manual_seed(2)
    return [(model, torch.randn(*model.settings.front_end.shape, generator=generator)) for model in models]


def _check(batch: Sequence[mixed_batch.Row]) -> None:
    found = mixed_batch.logits(batch)
    assert len(found) == len(batch)
    for (model, features), logits in zip(batch, found, strict=True):
        torch.testing.assert_close(logits, model.logits(features[None])[0], rtol=1e-5, atol=1e-5)


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.mark.slow
def test_every_row_of_the_table_in_one_batch_answers_as_it_does_alone(task: Tasks) -> None:
    _check(_batch([task(text, seed) for seed in range(3) for text in SPECS]))


@pytest.mark.slow
@pytest.mark.parametrize("text", SPECS)
def test_tasks_of_one_method_answer_as_each_does_alone(task: Tasks, text: str) -> None:
    batch = _batch([task(text, seed) for seed in (0, 1, 0, 3)])
    _check(batch)
    assert not torch.allclose(mixed_batch.logits(batch)[0], task(text, 0).logits(batch[2][1][None])[0])


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(SPECS), st.integers(0, 5)), min_size=1, max_size=8))
def test_any_mixture_answers_as_each_row_does_alone(task: Tasks, rows: list[tuple[str, int]]) -> None:
    _check(_batch([task(text, seed) for text, seed in rows]))


@pytest.mark.slow
def test_what_was_loaded_answers_as_what_was_saved(task: Tasks, backbone: Backbone) -> None:
    models = [task(text, seed) for seed in (0, 1) for text in SPECS if parse(text).trains != "backbone"]
    loaded = [read_again(model, backbone) for model in models]
    batch = _batch(models)
    again = mixed_batch.logits([(model, features) for model, (_, features) in zip(loaded, batch, strict=True)])
    for one, other in zip(mixed_batch.logits(batch), again, strict=True):
        assert torch.equal(one, other)


def test_the_backbone_runs_once_for_all_that_can_share_it(task: Tasks, backbone: Backbone) -> None:
    """Counted at the backbone's patches, which every pass begins with."""
    passes = []
    hook = backbone.model.embeddings.register_forward_hook(lambda *_: passes.append("whole"))
    patches = backbone.model.embeddings.patch_embeddings.register_forward_hook(lambda *_: passes.append("patches"))
    try:
        sharing = [text for text in SPECS if "prompt" not in text and text != "full"]
        mixed_batch.logits(_batch([task(text, seed) for seed in (0, 1) for text in sharing]))
        assert passes == ["patches"]
        passes.clear()
        mixed_batch.logits(_batch([task(text, seed) for text in ("prompt:deep,n=25", "lora") for seed in (0, 0, 1)]))
        assert passes == ["patches"] * 2
    finally:
        hook.remove()
        patches.remove()


def test_the_backbone_is_left_as_it_was(task: Tasks, backbone: Backbone, features: torch.Tensor) -> None:
    before = backbone.run(backbone.embed(features))
    mixed_batch.logits(_batch([task(text, 0) for text in SPECS]))
    assert torch.equal(backbone.run(backbone.embed(features)), before)
    assert mixed_batch.logits([]) == []


@pytest.mark.parametrize("kind", ["wav2vec2", "wav2vec2-stable"])
def test_rows_share_a_pass_over_waveforms_too(
    kind: str,
    backbone_of: BackboneOf,
    fresh: Fresh,
    randomise: Randomise,
) -> None:
    specs = (
        "lora:qkvo",
        "conformer:k=8",
        "bottleneck:houlsby",
        "prefix",
        "prompt:deep,n=3",
        "bitfit",
        "linear",
        "lora",
    )
    models = [randomise(fresh(text, seed, backbone=backbone_of(kind))) for seed in (0, 1) for text in specs]
    generator = torch.Generator().manual_seed(3)
    _check([(model, torch.randn(model.settings.front_end.shape, generator=generator)) for model in models])


@pytest.mark.parametrize(
    "methods",
    [
        ("lora:r=2", "lora:r=6,s=2", "lora:r=4"),
        ("bottleneck:r=2", "bottleneck:r=12", "bottleneck:r=5"),
        ("conformer:r=2,k=8", "conformer:r=8,k=8", "conformer:r=3,k=8"),
    ],
)
def test_different_ranks_of_a_method_are_one_group(
    task: Tasks, backbone: Backbone, methods: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [task(text, 3 * seed) for seed, text in enumerate(methods)]
    assert len({model.settings.method.text for model in models}) == len(methods)
    acted: list[int] = []

    def counted(parts: Any, run: Any, x: torch.Tensor) -> torch.Tensor:
        acted.append(len(x))
        return act(parts, run, x)

    monkeypatch.setattr("cl_ast.tasks.mixed_batch.act", counted)
    _check(_batch(models))
    assert set(acted) == {len(models)}
