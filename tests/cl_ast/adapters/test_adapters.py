"""What every method promises, run over all of them: a fresh one changes nothing, all of it learns, and only it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.adapter import Adapter
from cl_ast.adapters.spec import cost, parse
from cl_ast.backbone import pretrained as checkpoints
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.pooling import pooled
from cl_ast.errors import MethodError
from cl_ast.tasks.task_model import OWN_BACKBONE, TaskModel
from tests.cl_ast.conftest import Fresh, Randomise, SaveModel

ADAPTERS = [
    "bottleneck",
    "bottleneck:ffn",
    "bottleneck:houlsby",
    "bottleneck:sequential",
    "bottleneck:houlsby,sequential",
    "bottleneck:sequential,before,skip",
    "bottleneck:ffn,after",
    "conformer:k=5",
    "conformer:houlsby,k=8",
    "conformer:sequential,ffn",
    "conformer:sequential,before,skip",
    "lora",
    "lora:q,r=12",
    "lora:qkvo,r=3,s=2",
    "lora:ffn",
    "bottleneck:ffn+lora:qv,r=3",
    "bottleneck+conformer:houlsby",
]
METHODS = [*ADAPTERS, "linear", "full"]


def _train(model: TaskModel, features: Tensor, steps: int = 5) -> dict[str, Tensor]:
    """A few AdamW steps without weight decay, so that only gradients move anything; the state before them."""
    before = {name: tensor.clone() for name, tensor in model.state().items()}
    targets = torch.arange(len(features)) % len(model.settings.labels)
    trainable = model.trainable()
    for tensor in trainable:
        tensor.requires_grad_(True)
    optimiser = torch.optim.AdamW(trainable, lr=1e-2, weight_decay=0)
    with model.adapter.training_mode():
        for _ in range(steps):
            optimiser.zero_grad()
            F.cross_entropy(model.logits(features), targets).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    for tensor in trainable:
        tensor.requires_grad_(False)
    return before


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pooling", ["mean", "mean+std"])
def test_a_fresh_task_is_the_plain_backbone_under_its_head(
    fresh: Fresh, backbone: Backbone, features: Tensor, method: str, pooling: str
) -> None:
    model = fresh(method, pooling=pooling)
    plain = pooled(backbone.norm(backbone.run(backbone.embed(features))), pooling)
    expected = F.linear(plain, model.head["head.weight"], model.head["head.bias"])
    torch.testing.assert_close(model.logits(features), expected, rtol=0, atol=1e-5)


def test_a_fresh_tasks_norms_are_the_backbones_with_its_epsilon(
    fresh: Fresh, save_backbone: SaveModel, tmp_path: Path, features: Tensor
) -> None:
    backbone = checkpoints.load(str(save_backbone(tmp_path, layer_norm_eps=0.5)))
    model = fresh("bottleneck:houlsby", backbone=backbone)
    plain = backbone.norm(backbone.run(backbone.embed(features))).mean(dim=1)
    expected = F.linear(plain, model.head["head.weight"], model.head["head.bias"])
    torch.testing.assert_close(model.logits(features), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_everything_trainable_moves_in_five_steps(fresh: Fresh, features: Tensor, method: str) -> None:
    """A dead start, both sides of an adapter at zero, would leave tensors where they are."""
    model = fresh(method)
    trainable = {id(tensor) for tensor in model.trainable()}
    before = _train(model, features)
    after = model.state()
    names = {name for name, tensor in {**after, **_live(model)}.items() if id(tensor) in trainable}
    # Adding one number to every key changes no attention, so the backbone's key biases have no gradient.
    names = {name for name in names if not name.endswith(".k.bias")}
    assert len(names) >= len(trainable) - model.backbone.shape.depth * (method == "full")
    for name in names:
        assert not torch.equal(after[name], before[name]), f"{name} did not move"


def _live(model: TaskModel) -> dict[str, Tensor]:
    """The backbone's parameters themselves where they are trained (the state holds detached views)."""
    if model.settings.method.trains != "backbone":
        return {}
    return {f"{OWN_BACKBONE}{name}": tensor for name, tensor in model.backbone.tensors().items()}


@pytest.mark.parametrize("method", METHODS)
def test_only_the_tasks_tensors_get_gradients_and_the_backbone_stays_exactly_the_same(
    fresh: Fresh, backbone: Backbone, features: Tensor, method: str
) -> None:
    before = {name: tensor.clone() for name, tensor in backbone.tensors().items()}
    model = fresh(method)
    _train(model, features, steps=2)
    for name, tensor in backbone.tensors().items():
        assert tensor.grad is None, name
        assert torch.equal(tensor, before[name]), name
    if model.backbone is backbone:
        assert all(tensor.grad is not None for tensor in model.trainable())


@pytest.mark.parametrize("method", ADAPTERS)
def test_a_trained_adapter_acts_only_while_it_is_attached(
    fresh: Fresh, randomise: Randomise, backbone: Backbone, features: Tensor, method: str
) -> None:
    model = randomise(fresh(method))
    tokens = backbone.embed(features)
    plain = backbone.run(tokens)
    with model.acting():
        assert (backbone.run(tokens) - plain).abs().max() > 1e-3
    assert torch.equal(backbone.run(tokens), plain)


@pytest.mark.parametrize("method", METHODS)
def test_a_task_answers_the_same_inside_anothers_block(
    fresh: Fresh, randomise: Randomise, backbone: Backbone, features: Tensor, method: str
) -> None:
    model, other = randomise(fresh(method)), randomise(fresh("bottleneck:houlsby"))
    alone = model.logits(features)
    with backbone.attached(other.adapter):
        assert torch.equal(model.logits(features), alone)


@pytest.mark.parametrize("method", METHODS)
def test_the_price_is_what_is_there(fresh: Fresh, backbone: Backbone, method: str) -> None:
    model = fresh(method)
    price = cost(model.settings.method, backbone.shape, classes=3, backbone_parameters=backbone.parameters)
    assert model.trainable_parameters() == price.trainable_parameters
    assert 4 * sum(tensor.numel() for tensor in model.state().values()) == price.bytes


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_starts_the_same_and_another_one_differently(fresh: Fresh, method: str) -> None:
    first, again, other = fresh(method, seed=1).state(), fresh(method, seed=1).state(), fresh(method, seed=2).state()
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert any(not torch.equal(tensor, other[name]) for name, tensor in first.items())


@pytest.mark.parametrize("method", ["conformer", "conformer:houlsby,sequential"])
def test_batch_norm_keeps_statistics_while_training_and_uses_them_afterwards(
    fresh: Fresh, features: Tensor, method: str
) -> None:
    model = fresh(method)
    statistics = [name for name in model.state() if name.endswith(("batchnorm.mean", "batchnorm.var"))]
    assert len(statistics) == 2 * model.backbone.shape.depth * (2 if "houlsby" in method else 1)
    before = _train(model, features)
    for name in statistics:
        assert not torch.equal(model.state()[name], before[name])
    # In evaluation a clip's answer does not depend on its neighbours, and nothing is updated any more.
    kept = {name: model.state()[name].clone() for name in statistics}
    together = model.logits(features)
    torch.testing.assert_close(model.logits(features[:1]), together[:1], rtol=1e-5, atol=1e-5)
    assert all(torch.equal(model.state()[name], kept[name]) for name in statistics)
    # They are used: other statistics are another answer.
    model.state()[statistics[0]].add_(1)
    assert not torch.allclose(model.logits(features), together)


# What an adapter refuses


@pytest.fixture
def tensors(fresh: Fresh) -> dict[str, Tensor]:
    return dict(fresh("lora:q,r=2").adapter.tensors)


def test_tensors_are_named_by_our_layers_and_sites(tensors: dict[str, Tensor]) -> None:
    assert set(tensors) == {f"layers.{layer}.q.parallel.lora.{side}" for layer in (0, 1) for side in "ab"}


def test_a_missing_tensor_is_refused_by_name(backbone: Backbone, tensors: dict[str, Tensor]) -> None:
    del tensors["layers.1.q.parallel.lora.b"]
    with pytest.raises(MethodError, match=r"lora:q,r=2.*lacks.*layers\.1\.q\.parallel\.lora\.b"):
        Adapter(parse("lora:q,r=2"), backbone, tensors)


def test_a_tensor_too_many_is_refused_by_name(backbone: Backbone, tensors: dict[str, Tensor]) -> None:
    tensors["layers.2.q.parallel.lora.b"] = torch.zeros(32, 2)
    with pytest.raises(MethodError, match=r"layers\.2\.q\.parallel\.lora\.b"):
        Adapter(parse("lora:q,r=2"), backbone, tensors)


def test_a_tensor_of_another_shape_is_refused_with_both_shapes(backbone: Backbone, tensors: dict[str, Tensor]) -> None:
    with pytest.raises(MethodError, match=r"layers\.0\.q\.parallel\.lora\.a is \(2, 32\), expected \(3, 32\)"):
        Adapter(parse("lora:q,r=3"), backbone, tensors)
