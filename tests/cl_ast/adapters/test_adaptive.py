"""AdaLoRA against peft: equal outputs, the same regulariser, and the same triplets given up step by step."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cl_ast.adapters.phases import after_step, is_settled
from cl_ast.adapters.spec import cost, parse
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.sites import AST_BASE
from cl_ast.errors import MethodError
from cl_ast.tasks import mixed_batch
from cl_ast.tasks.merging import merged
from cl_ast.tasks.task_file import from_bytes, to_bytes
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.checkpoint import Checkpoint
from cl_ast.training.options import Hyperparameters
from cl_ast.training.trainer import train
from tests.cl_ast.conftest import Fresh, Toy

R, B, SCALE, TOTAL = 4, 2, 3.0, 20
NAMES = {"p": "lora_B", "e": "lora_E", "q": "lora_A"}


class Maps(nn.Module):
    """The maps q and v of the backbone's layers under the names that peft looks for, all run on one input."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.maps = nn.ModuleDict()
        for layer in range(backbone.shape.depth):
            for site in "qv":
                linear = nn.Linear(backbone.shape.width, backbone.shape.width)
                linear.load_state_dict(backbone.stock(layer, site))
                self.maps[f"{layer}{site}"] = linear

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([one(x) for one in self.maps.values()])


@pytest.fixture
def pair(fresh: Fresh, backbone: Backbone) -> tuple[TaskModel, Any]:
    """A task and a model of peft with the same AdaLoRA, at the same start."""
    peft = pytest.importorskip("peft")
    model = fresh(f"adalora:qv,r={R},b={B},s={SCALE},g=0.3")
    config = peft.AdaLoraConfig(
        target_modules=[f"{layer}{site}" for layer in range(backbone.shape.depth) for site in "qv"],
        init_r=R,
        target_r=B,
        lora_alpha=SCALE * R,
        tinit=2,
        tfinal=10,
        deltaT=1,
        total_step=TOTAL,
        orth_reg_weight=0.3,
    )
    other = peft.get_peft_model(Maps(backbone), config)
    with torch.no_grad():
        for name, tensor in model.adapter.tensors.items():
            if name.endswith((".p", ".e", ".q")):
                _of_peft(other, name).copy_(tensor.view_as(_of_peft(other, name)))
    return model, other


def _of_peft(other: Any, name: str) -> Tensor:
    _, layer, site, _, _, kind = name.split(".")
    found: Tensor = other.get_parameter(f"base_model.model.maps.{layer}{site}.{NAMES[kind]}.default")
    return found


def _outputs(model: TaskModel, x: Tensor) -> Tensor:
    """The adapted maps, all run on one input."""
    acts, found = model.adapter.acts(), []
    for layer in range(model.backbone.shape.depth):
        for site in "qv":
            stock = model.backbone.stock(layer, site)
            found.append(acts[layer, site](partial(F.linear, **stock), x))
    return torch.stack(found)


@pytest.mark.slow
def test_its_outputs_regulariser_and_budget_are_pefts(pair: tuple[TaskModel, Any]) -> None:
    model, other = pair
    generator = torch.Generator().manual_seed(4)
    mine = {name: tensor for name, tensor in model.adapter.tensors.items() if name.endswith((".p", ".e", ".q"))}
    for tensor in mine.values():
        tensor.requires_grad_(True)
    optimiser = torch.optim.SGD(mine.values(), lr=0.3)
    others = torch.optim.SGD([one for one in other.parameters() if one.requires_grad], lr=0.3)
    kept = []
    for step in range(1, TOTAL + 1):
        x, target = torch.randn(2, 2, 5, model.backbone.shape.width, generator=generator)
        found, expected = _outputs(model, x), other(x)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        penalty = model.adapter.penalty()
        assert penalty is not None
        optimiser.zero_grad()
        others.zero_grad()
        ((found - target).square().mean() + penalty).backward()
        ((expected - target).square().mean() + 0.3 * _regulariser(other)).backward()
        optimiser.step()
        others.step()
        after_step(model.adapter, step, TOTAL)
        other.base_model.update_and_allocate(step)
        masks = [tensor.bool() for name, tensor in model.adapter.tensors.items() if name.endswith("mask")]
        kept.append(int(torch.cat(masks).sum()))
        for name, tensor in mine.items():
            theirs = _of_peft(other, name).view_as(tensor)
            torch.testing.assert_close(tensor, theirs, rtol=1e-4, atol=1e-5)
            if name.endswith(".e"):
                assert torch.equal(tensor != 0, theirs != 0), (step, name)
    places = 2 * model.backbone.shape.depth
    assert kept[:2] == [R * places] * 2 and kept[9:] == [B * places] * 11
    assert kept == sorted(kept, reverse=True) and len(set(kept)) > 3
    ranks = {int(tensor.sum()) for name, tensor in model.adapter.tensors.items() if name.endswith("mask")}
    assert len(ranks) > 1  # they are not the same at every map


def _regulariser(other: Any) -> Tensor:
    """What `AdaLoraModel.forward` adds to a loss, but for its weight."""
    terms = []
    for name, one in other.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            product = one @ one.T if "lora_A" in name else one.T @ one
            terms.append(torch.norm(product - torch.eye(len(product)), p="fro"))
    return torch.stack(terms).mean()


def test_the_budget_is_told_from_the_steps(fresh: Fresh) -> None:
    adapter = fresh("adalora").adapter
    assert [step for step in range(1, 21) if not is_settled(adapter, step, 20)] == list(range(1, 10))
    assert is_settled(fresh("lora").adapter, 1, 20)


@pytest.mark.slow
def test_a_file_has_a_lora_within_the_budget(fresh: Fresh, toy: Toy, backbone: Backbone) -> None:
    model = fresh(f"adalora:qv,r={R},b={B}", labels=("tone", "noise"), frames=30)
    options = Hyperparameters(epochs=4, batch_size=8, head="fresh")
    trained = train(model, toy(0, 24), toy(24, 32), options)
    assert trained.epoch >= 2  # epoch 1 is not kept, since the rank is still larger after it
    kept = [int((t != 0).any(dim=1).sum()) for name, t in model.adapter.tensors.items() if name.endswith("lora.a")]
    assert sum(kept) == B * len(kept)
    features = toy(32, 40).batch(range(8))[0]
    again = from_bytes(to_bytes(model, backbone, {}, {}), backbone).model
    assert str(again.settings.method) == f"adalora:qv,r={R},b={B},s=8,g=0.5"
    assert torch.equal(again.logits(features), model.logits(features))
    torch.testing.assert_close(merged(again).logits(features), again.logits(features), rtol=1e-4, atol=1e-4)
    lora = fresh("lora:qv,r=3", labels=("tone", "noise"), frames=30)
    rows = mixed_batch.logits([(again, features[0]), (lora, features[1])])
    torch.testing.assert_close(rows[0], again.logits(features[:1])[0], rtol=1e-4, atol=1e-4)


def test_stopped_early_it_is_within_the_budget(fresh: Fresh, toy: Toy) -> None:
    model = fresh(f"adalora:qv,r={R},b={B}", labels=("tone", "noise"), frames=30)
    options = Hyperparameters(epochs=9, batch_size=8, head="fresh")
    taken = iter(range(5))
    train(model, toy(0, 24), toy(24, 32), options, stop=lambda: next(taken, 5) > 3)
    kept = [int((t != 0).any(dim=1).sum()) for name, t in model.adapter.tensors.items() if name.endswith("lora.a")]
    assert 0 < sum(kept) <= B * len(kept)


@pytest.mark.slow
def test_a_resumed_training_gives_up_the_same(fresh: Fresh, toy: Toy, tmp_path: Any) -> None:
    class KilledError(Exception):
        pass

    def kill(step: Any) -> None:
        if step.note.startswith("epoch 2/"):
            raise KilledError

    def run(**how: Any) -> TaskModel:
        model = fresh(f"adalora:qv,r={R},b={B}", labels=("tone", "noise"), frames=30)
        train(model, toy(0, 24), toy(24, 32), Hyperparameters(epochs=4, batch_size=8), **how)
        return model

    expected = run().state()
    with pytest.raises(KilledError):
        run(checkpoint=Checkpoint(tmp_path, {}, every=0), progress=kill)
    again = run(checkpoint=Checkpoint(tmp_path, {}, every=0), resume=True).state()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in again.items())


def test_its_cost_and_what_is_refused() -> None:
    price = cost(parse("adalora:qv,r=9,b=6"), AST_BASE)
    assert price.trainable_parameters == 12 * 2 * 9 * (2 * 768 + 1)
    assert price.bytes == 4 * 12 * 2 * 9 * 2 * 768
    with pytest.raises(MethodError, match=r"b=5.*r=4"):
        parse("adalora:r=4,b=5")
    with pytest.raises(MethodError, match="two deltas of the form lora at q"):
        parse("adalora+lora:q")
