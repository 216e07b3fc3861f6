"""LT-SFT: what is chosen and trained is what the paper says, and a task's file has these numbers and no others."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.phases import rewind
from cl_ast.adapters.spec import cost, parse
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.sites import AST_BASE
from cl_ast.errors import ClAstError, MethodError, TrainingError
from cl_ast.progress import Step, silent
from cl_ast.tasks.composing import with_change_of
from cl_ast.tasks.merging import merged
from cl_ast.tasks.task_file import from_bytes, to_bytes
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.checkpoint import Checkpoint
from cl_ast.training.options import Hyperparameters
from cl_ast.training.trainer import Trained, train
from registry import header
from tests.cl_ast.conftest import Fresh, Randomise, Toy

K = 60
# With this epsilon the changes are as different as the gradients; else those that changed most would all be alike.
OPTIONS = Hyperparameters(epochs=2, batch_size=8, head="fresh", weight_decay=0, learning_rate=0.1, epsilon=1.0)
MAPS = ("q", "k", "v", "o", "fc1", "fc2")


def _trained(fresh: Fresh, toy: Toy, options: Hyperparameters = OPTIONS, **how: Any) -> tuple[TaskModel, Trained]:
    model = fresh(f"ltsft:k={K}", labels=("tone", "noise"), frames=30)
    return model, train(model, toy(0, 24), toy(24, 32), options, **how)


def _numbers(backbone: Backbone) -> list[Tensor]:
    """The weights and biases of all linear maps, in the order in which a task's indices count them."""
    tensors = backbone.tensors()
    layers = range(backbone.shape.depth)
    return [tensors[f"layers.{n}.{site}.{kind}"] for n in layers for site in MAPS for kind in ("weight", "bias")]


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def _transcribed(backbone: Backbone, model: TaskModel, clips: Any) -> tuple[Tensor, Tensor]:
    """The paper's algorithm over a copy of the backbone whose own weights are trained; θ₂ − θ₀ and the mask.

    Both phases have the same number of steps, as in the authors' scripts.
    """
    own = backbone.copy(trained=True)
    theta, head = _numbers(own), {name: tensor.clone().requires_grad_() for name, tensor in model.head.items()}
    start = [tensor.detach().clone() for tensor in (*theta, *head.values())]
    parameters = [*theta, *head.values()]
    for tensor in theta:
        tensor.requires_grad_(True)
    mask = torch.ones_like(_flat(theta))
    torch.manual_seed(OPTIONS.seed)  # the order of the batches
    for phase in (1, 2):
        optimiser = torch.optim.AdamW(parameters, lr=0.1, betas=(0.9, 0.98), eps=1.0, weight_decay=0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 3)
        for batch in torch.split(torch.randperm(24), 8):
            features, targets = clips.batch(batch.tolist())
            tokens = own.run(own.embed(features))
            normed = F.layer_norm(
                tokens, tokens.shape[-1:], head["head.norm.weight"], head["head.norm.bias"], own.shape.norm_eps
            )
            loss = F.cross_entropy(F.linear(normed.mean(dim=1), head["head.weight"], head["head.bias"]), targets)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            parts = torch.split(mask, [tensor.numel() for tensor in theta])
            for tensor, part in zip(theta, parts, strict=True):
                assert tensor.grad is not None
                tensor.grad *= part.view_as(tensor)
            optimiser.step()
            schedule.step()
        if phase == 1:
            change = (_flat(theta) - _flat(start[: len(theta)])).abs()
            mask = (change >= change.sort(descending=True).values[K - 1]).float()
            with torch.no_grad():
                for tensor, was in zip(parameters, start, strict=True):
                    tensor.copy_(was)
    return _flat(theta) - _flat(start[: len(theta)]), mask


@pytest.mark.slow
def test_it_trains_what_the_papers_algorithm_trains(fresh: Fresh, toy: Toy, backbone: Backbone) -> None:
    model = fresh(f"ltsft:k={K}", labels=("tone", "noise"), frames=30)
    start = copy.copy(model)
    start.head = {name: tensor.clone() for name, tensor in model.head.items()}
    clips = toy(0, 24)
    train(model, clips, toy(24, 32), OPTIONS)
    with torch.random.fork_rng():
        change, mask = _transcribed(backbone, start, clips)
    indices, values = (model.adapter.tensors[f"shared.ltsft.{name}"] for name in ("indices", "values"))
    assert indices.tolist() == mask.nonzero().flatten().tolist()
    assert len(indices) == K == int(mask.sum())
    torch.testing.assert_close(values, change[indices.long()], rtol=1e-2, atol=2e-5)
    assert values.abs().min() > 1e-4  # each of them was trained


@pytest.mark.slow
def test_a_file_has_the_chosen_numbers_only_and_answers_exactly_the_same(
    fresh: Fresh, toy: Toy, backbone: Backbone
) -> None:
    model, _ = _trained(fresh, toy)
    assert str(model.settings.method) == f"ltsft:k={K}"
    data = to_bytes(model, backbone, {}, {})
    stored = load(data)
    assert {name: (tensor.dtype, len(tensor)) for name, tensor in stored.items() if "ltsft" in name} == {
        "shared.ltsft.indices": (torch.int32, K),
        "shared.ltsft.values": (torch.float32, K),
    }
    assert header.read(data).description()["trainable_parameters"] == model.trainable_parameters() == K
    features = toy(32, 40).batch(range(8))[0]
    again = from_bytes(data, backbone).model
    assert torch.equal(again.logits(features), model.logits(features))
    assert to_bytes(again, backbone, {}, {}) == data
    torch.testing.assert_close(merged(again).logits(features), again.logits(features), rtol=1e-4, atol=1e-5)


def test_it_trains_all_maps_and_stores_k_numbers() -> None:
    """Of AST-base all but the LayerNorms, the patches, the special tokens and the positions."""
    price = cost(parse("ltsft"), AST_BASE)
    assert price.trainable_parameters == 12 * (AST_BASE.layer_parameters - 4 * 768)
    assert price.bytes == 250_000 * (4 + 4)
    assert cost(parse("ltsft:from=10"), AST_BASE).trainable_parameters == price.trainable_parameters // 6
    few = 12 * (AST_BASE.layer_parameters - 4 * 768)  # a backbone with fewer numbers than K: all are stored
    assert cost(parse("ltsft:k=1000000000"), AST_BASE).bytes == 8 * few
    assert cost(parse("ltsft:k=1000000000,from=10"), AST_BASE).bytes == 8 * few // 6


def test_only_layers_that_are_adapted_change(fresh: Fresh, toy: Toy, backbone: Backbone) -> None:
    model = fresh(f"ltsft:k={K},from=1", labels=("tone", "noise"), frames=30)
    train(model, toy(0, 24), toy(24, 32), OPTIONS)
    first = sum(tensor.numel() for tensor in _numbers(backbone)) // backbone.shape.depth
    assert (model.adapter.tensors["shared.ltsft.indices"] >= first).all()


def test_two_changes_add(fresh: Fresh, randomise: Randomise, backbone: Backbone, features: Tensor) -> None:
    one, other = (randomise(fresh(f"ltsft:k={count}", seed=count)) for count in (300, 200))
    for model in (one, other):
        rewind(model.adapter)
        for name, tensor in model.adapter.tensors.items():
            if not name.endswith(".mask"):
                tensor.uniform_(-0.2, 0.2, generator=torch.Generator().manual_seed(len(name)))
        model.finish()
    both = with_change_of(one, other)
    own = backbone.copy()
    flat = _flat(_numbers(own))
    for model in (one, other):
        indices, values = (model.adapter.tensors[f"shared.ltsft.{name}"] for name in ("indices", "values"))
        flat[indices.long()] += values
    parts = torch.split(flat, [tensor.numel() for tensor in _numbers(own)])
    for tensor, part in zip(_numbers(own), parts, strict=True):
        tensor.detach().copy_(part.view_as(tensor))
    expected = one.classify(own.run(own.embed(features)))
    torch.testing.assert_close(both.logits(features), expected, atol=1e-5, rtol=1e-5)
    assert (both.logits(features) - one.logits(features)).abs().max() > 1e-3
    data = to_bytes(both, backbone, {}, {})
    assert torch.equal(from_bytes(data, backbone).model.logits(features), both.logits(features))
    with pytest.raises(MethodError, match=r"lora.*only changes of ltsft"):
        with_change_of(one, fresh("lora"))


@pytest.mark.parametrize("wrong", [[3, 2], [2, 2], [-1, 5], [5, 10**9]])
def test_places_that_do_not_exist_are_refused(
    fresh: Fresh, randomise: Randomise, backbone: Backbone, wrong: list[int]
) -> None:
    model = randomise(fresh("ltsft:k=2"))
    model.finish()
    data = to_bytes(model, backbone, {}, {})
    tensors = load(data) | {"shared.ltsft.indices": torch.tensor(wrong, dtype=torch.int32)}
    with pytest.raises(ClAstError, match=r"shared\.ltsft\.indices that do not exist"):
        from_bytes(save(tensors, metadata=header.read(data).metadata), backbone)


# How it is trained


def test_one_epoch_is_too_few(fresh: Fresh, toy: Toy) -> None:
    with pytest.raises(TrainingError, match="trained twice"):
        _trained(fresh, toy, Hyperparameters(epochs=1))


@pytest.mark.slow
def test_resumed_weights_are_those_of_an_uninterrupted_training(fresh: Fresh, toy: Toy, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    options = Hyperparameters(epochs=5, batch_size=8)
    expected, _ = _trained(fresh, toy, options)
    for epoch in (2, 3, 4):  # in the first phase, between the two, and in the second

        def kill(step: Step, epoch: int = epoch) -> None:
            if step.note.startswith(f"epoch {epoch}/"):
                raise KilledError

        checkpoint = Checkpoint(tmp_path, {"killed": epoch}, every=0)
        with pytest.raises(KilledError):
            _trained(fresh, toy, options, checkpoint=checkpoint, progress=kill)
        again, _ = _trained(fresh, toy, options, checkpoint=checkpoint, resume=True)
        assert all(torch.equal(tensor, expected.state()[name]) for name, tensor in again.state().items())


@pytest.mark.slow
def test_patience_counts_in_the_second_phase(fresh: Fresh, toy: Toy) -> None:
    options = Hyperparameters(epochs=8, batch_size=8, patience=1, learning_rate=1e-12)
    _, trained = _trained(fresh, toy, options)
    assert trained.stopped == "patience"
    assert trained.curve[-1].epoch == 5


def test_stopped_in_the_first_phase_it_answers_as_at_its_start(fresh: Fresh, toy: Toy) -> None:
    model, trained = _trained(fresh, toy, Hyperparameters(epochs=4, batch_size=8), stop=lambda: True, progress=silent)
    assert (trained.epoch, trained.stopped) == (0, "user")
    assert not model.adapter.tensors["shared.ltsft.values"].any()
