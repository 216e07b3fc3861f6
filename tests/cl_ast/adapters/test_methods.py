"""What every row of the table must show, run once over all of them; what a row can do is read from the row."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.forms import Fresh as FreshDelta
from cl_ast.adapters.forms import Params, Weight
from cl_ast.adapters.forms.layers import vector
from cl_ast.adapters.listing import SHOWN, rows
from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS, PRESETS
from cl_ast.adapters.options import Number
from cl_ast.adapters.placement import Placement
from cl_ast.adapters.spec import cost, owned, parse
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.pooling import pooled
from cl_ast.backbone.sites import AST_BASE
from cl_ast.errors import MethodError
from cl_ast.tasks.merging import merged
from cl_ast.tasks.task_file import from_bytes, to_bytes
from cl_ast.tasks.task_model import OWN_BACKBONE, TaskModel, TaskSettings
from cl_ast.training.options import Hyperparameters
from cl_ast.training.trainer import train
from tests.cl_ast.conftest import BackboneOf, Fresh, Toy

# The facts page and the papers' tables: AST-base, head left out unless the papers count it.
PAPERS = {
    "bitfit": 102_144,
    "prompt:shallow,n=300": 230_400,
    "prompt:deep,n=25": 230_400,
    "prefix:n=24": 221_184,
    "lora:qv,r=6": 221_184,
    "lora:q,r=12": 221_184,
    "lora:qk,r=6": 221_184,
    "lora:qkvo,r=3": 221_184,
    "bottleneck:pfeiffer,r=12": 248_976,
    "bottleneck:houlsby,r=12": 497_952,
    "bottleneck:houlsby,mixed": 497_952,
    "convpass:pfeiffer,r=12": 254_304,
    "convpass:houlsby,r=12": 508_608,
    "conformer:pfeiffer,r=8,k=31": 270_720,
    "conformer:houlsby,r=8,k=31": 541_440,
    "conformer:pfeiffer,r=8,k=8": 268_512,
    "bottleneck:r=24": 470_304,  # table V, x2: 470K
    "bottleneck:ffn,r=48,nonorm": 894_528,  # the conformer paper's table 3, IEMOCAP: 895K
    "conformer:ffn,r=32,nonorm": 926_208,  # the same: 927K, rounded up
    "bottleneck:ffn+lora:qv": 470_160,  # table VI: 470K
    "bottleneck:ffn+prompt:deep": 479_376,  # table VI: 479K
    "bottleneck:ffn+prompt:deep,n=14+lora:qv,r=3": 488_592,  # table VI: 488K
    # By the sources' own counts: 2 l d a layer, 2 numbers a channel, r columns.
    "prefix-adapter:n=24": 221_184,
    "multihead:r=12": 221_184,
    "sequential": 248_976 - 12 * 1_536,  # a bottleneck of r=12 without its LayerNorm
    "ssf": 205_824,  # 2 · 12 · 8,448, and the patch embedding and the last LayerNorm with 1,536 each
    "ssf:layers": 2 * 12 * 8_448,
    "paca:qv,r=12": 12 * 2 * 12 * 768,
    "bone:qv,r=12": 12 * 2 * 12 * 768,
    "sorsa:qv,r=6": 12 * 2 * (2 * 6 * 768 + 6),
    "dora:qv,r=6": 12 * 2 * (2 * 6 * 768 + 768),  # as LoRA, and a magnitude for each output
    "onebit:r=32": 12 * 2 * 32 * 768,
}
SPECS = tuple(dict.fromkeys(parse(text).text for text in (*SHOWN, "full:top=1", "bottleneck:nonorm", "hydra:nonorm")))


def test_every_row_and_preset_is_in_the_list() -> None:
    assert {name for text in SPECS for name in parse(text).family.split("+")} == set(METHODS)
    assert {f"auto:{name}" for name in PRESETS} <= set(SHOWN)


@pytest.mark.parametrize(("text", "parameters"), PAPERS.items())
def test_parameters_are_the_papers_to_the_unit(text: str, parameters: int) -> None:
    assert cost(parse(text), AST_BASE).trainable_parameters == parameters


@pytest.mark.parametrize(("name", "rate"), [("prompt", 1e-2), ("prefix", 1e-2), ("bitfit", 5e-3), ("linear", 1e-3)])
def test_learning_rates_are_the_papers(name: str, rate: float) -> None:
    assert parse(name).learning_rate == rate
    assert parse("bottleneck+prompt").learning_rate == 5e-3


def test_presets_are_kept_as_what_they_stand_for() -> None:
    assert parse("auto:sound") == parse("conformer:pfeiffer,r=8,k=8")
    assert parse("auto:speech") == parse("conformer:houlsby,r=8,k=31")
    assert parse(" auto: sound + lora ").family == "conformer+lora"
    (row,) = rows(["auto:sound"], AST_BASE, 0)
    assert (row["method"], row["trainable_parameters"]) == ("auto:sound", 268_512)
    assert "ESC-50 and US8K" in row["source"]


# On a backbone of each family, pre-norm and post-norm


@pytest.fixture(scope="module", params=["ast", "wav2vec2"])
def backbone(request: pytest.FixtureRequest, backbone_of: BackboneOf) -> Backbone:
    return backbone_of(request.param)


def _randomised(model: TaskModel, seed: int = 17) -> TaskModel:
    """Every number of the task away from its start, as after training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state().items():
            if tensor.is_floating_point():
                noise = 0.1 * torch.randn(tensor.shape, generator=generator)
                tensor.add_(noise.abs() if name.endswith("batchnorm.var") else noise)
    return model


@contextmanager
def _training(model: TaskModel) -> Iterator[torch.optim.AdamW]:
    trainable = model.trainable()
    for tensor in trainable:
        tensor.requires_grad_(True)
    try:
        with model.adapter.training_mode():
            yield torch.optim.AdamW(trainable, lr=1e-2, weight_decay=0)
    finally:
        for tensor in trainable:
            tensor.requires_grad_(False)


def _train(model: TaskModel, features: Tensor, steps: int) -> float:
    """A few AdamW steps without weight decay, so that only gradients move anything; the last loss."""
    targets = torch.arange(len(features)) % len(model.settings.labels)
    with _training(model) as optimiser, torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(steps):
            penalty = model.adapter.penalty()
            loss = F.cross_entropy(model.logits(features), targets) + (0 if penalty is None else penalty)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return float(loss.detach())


@pytest.mark.slow
@pytest.mark.parametrize("text", SPECS)
def test_a_fresh_task_is_the_plain_backbone_where_the_method_starts_at_zero(
    fresh: Fresh, backbone: Backbone, features: Tensor, text: str
) -> None:
    model = fresh(text)
    plain = pooled(backbone.norm(backbone.run(backbone.embed(features))), "mean")
    expected = F.linear(plain, model.head["head.weight"], model.head["head.bias"])
    difference = (model.logits(features) - expected).abs().max()
    assert difference < 1e-5 if parse(text).starts_plain else difference > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("text", SPECS)
def test_every_trained_tensor_moves_in_five_steps_and_the_backbone_does_not(
    fresh: Fresh, backbone: Backbone, features: Tensor, text: str
) -> None:
    kept = {name: tensor.clone() for name, tensor in backbone.tensors().items()}
    model = fresh(text)
    before = {name: tensor.clone() for name, tensor in model.state().items()}
    _train(model, features, 5)
    trained = {name for name, one in owned(model.settings.method, backbone.shape).items() if one.weight.trained}
    trained |= set(model.head)
    if model.settings.method.trains == "backbone":
        trained |= {name for name in before if name.startswith(f"{OWN_BACKBONE}layers.")}
    for name in trained:
        if not name.endswith(model.settings.method.without_gradient or (" ",)):
            assert not torch.equal(model.state()[name], before[name]), f"{name} did not move"
    for name in set(before) - trained - {f"{OWN_BACKBONE}norm.weight", f"{OWN_BACKBONE}norm.bias"}:
        if not name.endswith(("batchnorm.mean", "batchnorm.var")) and not name.startswith(f"{OWN_BACKBONE}embed"):
            assert torch.equal(model.state()[name], before[name]), f"{name} moved"
    assert all(torch.equal(tensor, kept[name]) for name, tensor in backbone.tensors().items())


@pytest.mark.slow
@pytest.mark.parametrize("text", SPECS)
def test_saved_and_loaded_it_gives_exactly_the_same_logits(
    fresh: Fresh, backbone: Backbone, features: Tensor, text: str
) -> None:
    model = _randomised(fresh(text))
    price = cost(model.settings.method, backbone.shape, classes=3, backbone_parameters=backbone.parameters)
    assert price.trainable_parameters == model.trainable_parameters()
    model.finish()
    data = to_bytes(model, backbone, {}, {})
    loaded = from_bytes(data, backbone, shared=lambda _: model.adapter.shared).model
    assert torch.equal(loaded.logits(features), model.logits(features))
    assert to_bytes(loaded, backbone, {}, {}) == data
    # What `methods` says a task takes is what the file holds, apart from its header.
    assert len(data) - 8 - int.from_bytes(data[:8], "little") == price.bytes


@pytest.mark.slow
@pytest.mark.parametrize("text", SPECS)
def test_it_trains_in_half_precision_with_its_own_tensors_in_single(
    fresh: Fresh, backbone: Backbone, features: Tensor, text: str
) -> None:
    model = fresh(text)
    with _training(model):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model.logits(features)
        logits.float().square().mean().backward()  # type: ignore[no-untyped-call]
        trainable = model.trainable()
        assert all(tensor.grad is not None and torch.isfinite(tensor.grad).all() for tensor in trainable)
        assert {tensor.dtype for tensor in trainable} == {torch.float32}
    with torch.no_grad():
        torch.testing.assert_close(logits.float(), model.logits(features), rtol=0, atol=0.1)


def test_one_bit_weights_take_a_bit_in_the_file() -> None:
    assert cost(parse("onebit"), AST_BASE).bytes == 12 * 2 * (32 * 768 // 8 + 8)
    assert cost(parse("onebit:magnitude"), AST_BASE).bytes == 12 * 2 * (32 * 768 // 8 + 4)


# Merging


@pytest.mark.parametrize(
    "text",
    [
        "lora:qkvo",
        "lora:ffn+lora:qv",
        "ssf",
        "bitfit",
        "sorsa:qv+sorsa:ffn",
        "paca:qkvo",
        "dora:qv+dora:ffn",
        "bone:qv,r=4+bone:ffn,r=8",
        "mosa",
        "mosa:houlsby,sequential",
        "lora:qv+bone:qv,r=4+ssf+bitfit",
        "linear",
    ],
)
def test_merged_it_answers_the_same_at_no_extra_cost(
    fresh: Fresh, backbone: Backbone, features: Tensor, text: str
) -> None:
    model = _randomised(fresh(text))
    one = merged(model)
    torch.testing.assert_close(one.logits(features), model.logits(features), rtol=0, atol=1e-4)
    assert {placement.form.label for placement in one.settings.method.placements} <= {"bottleneck"}
    assert bool(one.adapter.acts()) == text.startswith("mosa")
    assert one.backbone is not backbone


@pytest.mark.parametrize(
    ("text", "label"),
    [("bottleneck", "bottleneck"), ("prompt", "prompt"), ("lora+prefix", "prefix"), ("mam", "prefix")],
)
def test_what_is_no_update_of_weights_cannot_be_merged(fresh: Fresh, text: str, label: str) -> None:
    with pytest.raises(MethodError, match=f"{label} at .* cannot be merged"):
        merged(fresh(text))


# Many tasks in a batch: one set of weights a row


@pytest.mark.slow
@pytest.mark.parametrize("text", [text for text in SPECS if parse(text).trains != "backbone"])
def test_weights_of_its_own_for_each_row_are_each_row_alone(
    fresh: Fresh, backbone: Backbone, features: Tensor, text: str
) -> None:
    models = [_randomised(fresh(text), seed) for seed in range(len(features))]
    batch = fresh(text)
    _stack(batch, models)
    with batch.acting():
        together = backbone.run(backbone.embed(features))
    for row, model in enumerate(models):
        with model.acting():
            alone = backbone.run(backbone.embed(features[row : row + 1]))
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=2e-4)


def _stack(batch: TaskModel, models: list[TaskModel]) -> None:
    """Give `batch` the adapters of all models, a row each."""
    for name, tensor in batch.adapter.tensors.items():
        tensor.data = torch.stack([model.adapter.tensors[name] for model in models])


# The penalty


def test_only_sorsa_has_a_penalty_and_it_pulls_the_vectors_to_orthonormal(fresh: Fresh) -> None:
    assert fresh("lora").adapter.penalty() is None
    model = fresh("sorsa:qv,r=3,g=0.5")
    penalty = model.adapter.penalty()
    assert penalty is not None
    assert penalty < 1e-5
    p = model.adapter.tensors
    with torch.no_grad():
        for tensor in p.values():
            tensor.mul_(1.5)
    assert (model.adapter.penalty() or 0) > 0.5


@pytest.mark.slow
def test_training_adds_the_penalty(fresh: Fresh, toy: Toy) -> None:
    """A heavy regulariser holds U orthonormal; without one, training moves it away."""

    def lack(text: str) -> float:
        model = fresh(text, labels=("tone", "noise"), frames=30)
        train(model, toy(0, 16), toy(16, 24), Hyperparameters(epochs=4, batch_size=4, learning_rate=2e-2, head="fresh"))
        u = model.adapter.tensors["layers.0.q.parallel.sorsa.u"]
        return float((u.T @ u - torch.eye(3)).norm())

    assert lack("sorsa:qv,r=3,g=10") < 0.5 * lack("sorsa:qv,r=3,g=0")


# A method of the user's own, from outside the package: one class and one row


@dataclass(frozen=True)
class Gain:
    """g · tanh(x · w), a factor a channel."""

    label: ClassVar[str] = "gain"
    fresh: ClassVar[FreshDelta] = "zero"
    gain: float

    def weights(self, width_in: int, width_out: int) -> dict[str, Weight]:
        return {"w": Weight((width_in,))}

    def delta(self, x: Tensor, p: Params, *, training: bool = False) -> Tensor:
        return self.gain * torch.tanh(x * vector(p["w"]))


TABLE = {
    **METHODS,
    "mine": Method(
        "mine",
        "a tanh of its own a channel, beside the FFN",
        "h ← h + g · tanh(x ∘ w)",
        "this test",
        (Number("g", 2.0, 0.0, 10.0, "the gain"),),
        lambda values: (Placement("ffn", Gain(float(values["g"]))),),
    ),
}


def test_a_users_own_form_and_row_need_no_change_in_the_package(backbone: Backbone, features: Tensor) -> None:
    settings = TaskSettings("toy", parse("mine:g=3+lora", TABLE), ("a", "b"), backbone.front_end(0.6))
    assert settings.method.text == "mine:g=3+lora:qv,r=6,s=8"
    model = TaskModel.fresh(settings, backbone, torch.Generator().manual_seed(0))
    before = model.logits(features)
    _train(model, features, 3)
    assert not torch.allclose(model.logits(features), before)
    data = to_bytes(model, backbone, {}, {})
    assert torch.equal(from_bytes(data, backbone, TABLE).model.logits(features), model.logits(features))
    # The package's own table is as it was, and cannot be changed.
    with pytest.raises(MethodError, match="no method called 'mine'"):
        parse("mine")
    with pytest.raises(TypeError):
        METHODS["mine"] = TABLE["mine"]  # type: ignore[index]
