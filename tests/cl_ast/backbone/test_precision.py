"""In bf16 the backbone computes with a copy of its weights, which changes nothing else."""

import pytest
import torch
from torch import Tensor
from transformers import ASTConfig, ASTModel

from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.families.ast import patches_by_matrix
from tests.cl_ast.conftest import Fresh, Randomise


@pytest.fixture
def features() -> Tensor:
    return torch.randn(3, 60, 128, generator=torch.Generator().manual_seed(3))


def test_single_precision_is_the_same_to_the_bit_after_a_pass_in_bf16(
    fresh: Fresh, randomise: Randomise, backbone: Backbone, features: Tensor
) -> None:
    model = randomise(fresh("conformer"))
    fingerprint, before = backbone.fingerprint, model.logits(features)
    with backbone.precision("bf16"):
        half = model.logits(features)
        assert backbone.dtype == torch.bfloat16
    assert backbone.dtype == torch.float32
    assert torch.equal(model.logits(features), before)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, before, rtol=0.1, atol=0.1)
    assert backbone.fingerprint == fingerprint
    assert all(tensor.dtype == torch.float32 for tensor in backbone.tensors().values())


@pytest.mark.parametrize("method", ["conformer", "lora", "onebit", "prefix", "ssf"])
def test_a_packed_adapter_answers_in_bf16_as_the_trained_one_does(
    fresh: Fresh, randomise: Randomise, backbone: Backbone, features: Tensor, method: str
) -> None:
    model = randomise(fresh(method))
    with backbone.precision("bf16"), torch.no_grad():
        trained = model.logits(features)
        model.adapter.pack()
        assert torch.equal(model.logits(features), trained)


def test_training_in_bf16_reaches_the_tensors_in_single_precision(
    fresh: Fresh, backbone: Backbone, features: Tensor
) -> None:
    model = fresh("lora")
    tensors = model.trainable()
    for tensor in tensors:
        tensor.requires_grad_(True)
    with backbone.precision("bf16"):
        model.logits(features).sum().backward()  # type: ignore[no-untyped-call]
    assert all(tensor.grad is not None and tensor.grad.dtype == torch.float32 for tensor in tensors)


def test_a_fully_trained_task_is_cast_in_each_pass(fresh: Fresh, features: Tensor) -> None:
    model = fresh("full")
    with model.backbone.precision("bf16"):
        assert model.backbone.dtype == torch.float32
        before = model.logits(features)
        with torch.no_grad():
            model.backbone.tensors()["layers.0.q.weight"].mul_(3)
        assert not torch.equal(model.logits(features), before)


@pytest.mark.parametrize("stride", [(10, 10), (9, 13), (16, 4)])
def test_patches_by_a_matrix_product_are_the_stock_ones(stride: tuple[int, int]) -> None:
    sizes = ASTConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, frequency_stride=stride[0], time_stride=stride[1]
    )
    stock = ASTModel(sizes).embeddings.patch_embeddings
    features = torch.randn(2, 77, 128)
    own = patches_by_matrix(features, stock.projection.weight, stock.projection.bias, stock.projection.stride)
    torch.testing.assert_close(own, stock(features), rtol=1e-4, atol=1e-5)
