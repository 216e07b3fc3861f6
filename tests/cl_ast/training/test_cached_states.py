"""Tests of the cached states: they are computed once, and give the task that computing them every time gives."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.device import bf16_is_faster
from cl_ast.errors import MethodError
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.cached_states import CachedStates, SplitForward
from cl_ast.training.clips import ClipSet
from cl_ast.training.options import Hyperparameters
from cl_ast.training.trainer import accuracy_of, train
from tests.cl_ast.conftest import Fresh, Randomise, Toy

LABELS = ("tone", "noise")

ADAPTERS = [
    "lora",
    "conformer:k=8",
    "bottleneck:houlsby",
    "prompt",
    "prompt:shallow,n=4",
    "prefix",
    "bitfit",
    "compacter",
]


@pytest.mark.parametrize("method", ADAPTERS)
def test_an_adapter_from_a_layer_on_leaves_the_lower_ones_as_they_are(
    fresh: Fresh, randomise: Randomise, backbone: Backbone, features: Tensor, method: str
) -> None:
    text = f"{method},from=1" if ":" in method else f"{method}:from=1"
    model = randomise(fresh(text))
    assert model.frozen_layers == 1
    assert all(not name.startswith("layers.0.") for name in model.adapter.tensors)
    with model.acting():
        below = backbone.run(backbone.embed(features), last=1)
        above = backbone.run(below, first=1)
    assert torch.equal(below, backbone.run(backbone.embed(features), last=1))  # nothing acts there
    assert not torch.equal(above, backbone.run(below, first=1))
    with model.acting():
        upper = backbone.run(model.lower(features), first=model.frozen_layers)
    assert torch.equal(model.classify(upper), model.logits(features))


@pytest.mark.parametrize("pooling", ["mean", "mean+std"])
@pytest.mark.parametrize("method", ["linear", "lora:from=1", "lora", "full"])
def test_the_cut_computation_is_the_whole_one(
    fresh: Fresh, randomise: Randomise, features: Tensor, method: str, pooling: str
) -> None:
    model = randomise(fresh(method, pooling=pooling))
    frozen = SplitForward(model, "fp32")
    torch.testing.assert_close(frozen.above(frozen.below(features)), model.logits(features), rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "mean+std"])
def test_a_probe_on_two_vectors_a_clip_has_the_gradients_of_one_on_tokens(
    fresh: Fresh, randomise: Randomise, features: Tensor, pooling: str
) -> None:
    model = randomise(fresh("linear", pooling=pooling))
    frozen = SplitForward(model, "fp32")
    tensors = [tensor.requires_grad_(True) for tensor in model.trainable()]
    both = (frozen.above(frozen.below(features)), model.logits(features))
    short, whole = (torch.autograd.grad(logits.square().sum(), tensors) for logits in both)
    for ours, theirs in zip(short, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def _trained(fresh: Fresh, paths: list[Path], method: str, budget: int, **changed: Any) -> tuple[TaskModel, ClipSet]:
    model = fresh(method, labels=LABELS, frames=30)
    training, validation = (
        ClipSet(some, [n % 2 for n in range(len(some))], LogMelFrontEnd(30), cache_bytes=budget)
        for some in (paths[:32], paths[32:])
    )
    options = Hyperparameters(epochs=3, batch_size=8, learning_rate=3e-3, head="fresh", **changed)
    train(model, training, validation, options)
    return model, training


@pytest.mark.slow
@pytest.mark.parametrize("method", ["linear", "lora:from=1", "prompt:from=1"])
def test_kept_states_train_the_same_task_up_to_rounding(fresh: Fresh, toy_clips: list[Path], method: str) -> None:
    kept, clips = _trained(fresh, toy_clips, method, 2**30)
    computed, bare = _trained(fresh, toy_clips, method, 0)
    assert clips.states.bytes > 0
    assert bare.states.bytes == 0
    for name, tensor in kept.state().items():
        torch.testing.assert_close(tensor, computed.state()[name], rtol=0, atol=2e-3, msg=name)


@pytest.mark.slow
def test_kept_states_spare_the_backbone(fresh: Fresh, toy_clips: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    clips = 0
    lower = TaskModel.lower

    def counted(self: TaskModel, features: Tensor) -> Tensor:
        nonlocal clips
        clips += len(features)
        return lower(self, features)

    monkeypatch.setattr(TaskModel, "lower", counted)
    for method in ("linear", "lora:from=1"):
        clips = 0
        _trained(fresh, toy_clips, method, 2**30)
        assert clips == len(toy_clips)


def test_masked_clips_are_never_kept(fresh: Fresh, toy_clips: list[Path]) -> None:
    _, clips = _trained(fresh, toy_clips, "linear", 2**30, frequency_mask=10)
    assert clips.states.bytes == 0


def test_states_stay_within_the_budget_and_in_half_precision(fresh: Fresh, toy: Toy) -> None:
    model, clips = fresh("lora:from=1", labels=LABELS, frames=30), toy(0, 8)
    forward = SplitForward(model)
    CachedStates(clips, forward).load("states")
    kept = clips.states.get(forward.key)
    assert kept is not None
    assert kept.dtype == torch.float16
    assert clips.states.bytes == kept.numel() * 2
    clips.states.clear()
    clips.states.room = kept.numel() * 2 - 1
    CachedStates(clips, forward).load("states")
    assert clips.states.bytes == 0


def test_states_of_another_backbone_or_setting_are_not_taken(fresh: Fresh, other_backbone: Backbone, toy: Toy) -> None:
    clips = toy(0, 8)
    models = [
        fresh("linear", labels=LABELS, frames=30),
        fresh("linear", labels=LABELS, frames=30, backbone=other_backbone),
        fresh("linear", labels=LABELS, frames=30, positions="zeros"),
        fresh("lora:from=1", labels=LABELS, frames=30),
    ]
    plain = [accuracy_of(model, toy(0, 8)) for model in models]
    for model, expected in zip(models, plain, strict=True):
        CachedStates(clips, SplitForward(model)).load("states")
        assert accuracy_of(model, clips) == pytest.approx(expected, abs=1e-3)


def test_a_state_beyond_half_precision_is_computed_each_time(fresh: Fresh, backbone: Backbone, toy: Toy) -> None:
    model, clips = fresh("lora:from=1", labels=LABELS, frames=30), toy(0, 8)
    bias = backbone.tensors()["layers.0.fc2.bias"]
    before = bias.clone()
    try:
        bias[3] = 1e6
        CachedStates(clips, SplitForward(model)).load("states")
    finally:
        bias.copy_(before)
    assert clips.states.bytes == 0


@pytest.mark.parametrize("method", ["lora:from=2", "bottleneck:ffn+prompt:from=2"])
def test_a_layer_that_the_backbone_does_not_have_is_refused(fresh: Fresh, method: str) -> None:
    with pytest.raises(MethodError, match=r"from=2.*0 to 1"):
        fresh(method)


def test_fast_is_what_the_probe_says_and_auto_on_a_cpu_is_not(backbone: Backbone) -> None:
    with backbone.precision("fast"):
        assert (backbone.dtype == torch.bfloat16) == bf16_is_faster()
    with backbone.precision("auto"):
        assert backbone.dtype == torch.float32
