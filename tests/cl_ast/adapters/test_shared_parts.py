"""Methods that read a shared part: their papers' equations by hand, and the code of peft."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cl_ast.adapters.adapter import Adapter
from cl_ast.adapters.spec import owned, parse, shared_by_tasks
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.sites import AST_BASE
from cl_ast.errors import MethodError
from cl_ast.tasks.merging import merged
from cl_ast.tasks.mixed_batch import logits
from cl_ast.tasks.task_file import to_bytes
from tests.cl_ast.conftest import Fresh, Randomise, read_again, shared_part

SPECS = ("poly:s=3,r=2", "mhr:s=3,h=4,r=2", "halfshared:ffn,r=3", "halfshared:share=up,r=3", "hyper:r=2,k=5")
PLACE = "layers.1.v.parallel"


def _adapter(text: str, backbone: Backbone) -> Adapter:
    """An adapter every number of which is random."""
    spec, generator = parse(text), torch.Generator().manual_seed(7)
    own = {
        name: torch.randn(one.weight.shape, generator=generator) for name, one in owned(spec, backbone.shape).items()
    }
    return Adapter(spec, backbone, own, shared_part(spec, backbone))


def _delta(adapter: Adapter, x: Tensor) -> np.ndarray:
    """What the adapter adds to the values of layer 1, for inputs x (batch, tokens, width)."""
    with torch.no_grad():
        added: Tensor = adapter.acts()[1, "v"](lambda inputs: torch.zeros(*inputs.shape), x)
    return added.double().numpy()


def _x(backbone: Backbone) -> Tensor:
    return torch.randn(2, 5, backbone.shape.width, generator=torch.Generator().manual_seed(1))


def _numbers(adapter: Adapter, form: str) -> dict[str, np.ndarray]:
    """The numbers of layer 1's values, a task's own and the shared ones, by their last names."""
    found = {**adapter.tensors, **adapter.shared}
    prefix = f"{PLACE}.{form}."
    return {name.removeprefix(prefix): t.double().numpy() for name, t in found.items() if name.startswith(prefix)}


@pytest.mark.parametrize("text", ["poly:s=3,r=2", "mhr:s=3,h=4,r=2"])
def test_skills_are_mixed_as_the_equations_say(text: str, backbone: Backbone) -> None:
    """A and B are means of the skills, by head: Caccia et al. (2023), section 2, and Ẑ of Ponti et al., eq. 2."""
    adapter, x = _adapter(text, backbone), _x(backbone)
    p = _numbers(adapter, "skills")
    heads, skills, rank, _ = p["a"].shape
    sigma = 1 / (1 + np.exp(-p["z"]))
    a = np.concatenate(
        [sum(sigma[h, s] * p["a"][h, s].T for s in range(skills)) / sigma[h].sum() for h in range(heads)]
    )
    b = np.concatenate(
        [sum(sigma[h, s] * p["b"][h, s].T for s in range(skills)) / sigma[h].sum() for h in range(heads)], axis=1
    )
    np.testing.assert_allclose(_delta(adapter, x), x.double().numpy() @ a @ b / rank, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("text", ["poly:s=3,r=2", "mhr:s=3,h=4,r=2"])
def test_skills_are_mixed_as_peft_does(text: str, backbone: Backbone) -> None:
    poly = pytest.importorskip("peft.tuners.poly")
    from peft.tuners.poly.layer import Linear

    adapter, x = _adapter(text, backbone), _x(backbone)
    p = _numbers(adapter, "skills")
    heads, skills, rank, _ = p["a"].shape
    base = torch.nn.Linear(x.shape[-1], x.shape[-1], bias=False)
    torch.nn.init.zeros_(base.weight)
    theirs = Linear(base, "default", poly.PolyConfig(r=rank, n_tasks=1, n_skills=skills, n_splits=heads)).eval()
    with torch.no_grad():
        theirs.poly_lora_A["default"].copy_(torch.tensor(p["a"]).transpose(2, 3))
        theirs.poly_lora_B["default"].copy_(torch.tensor(p["b"]).transpose(2, 3))
        router: Any = theirs.poly_router["default"]
        router.module_logits.copy_(torch.tensor(p["z"]).reshape(1, -1))
        expected = theirs(x, task_ids=torch.zeros(len(x), dtype=torch.long))
    np.testing.assert_allclose(_delta(adapter, x), expected.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "own", "inventory"),
    [
        ("poly:s=8,r=6", 192, 1_769_472),
        ("mhr:s=8,r=6", 1_536, 1_769_472),
        ("poly:s=1,r=6", 24, 221_184),
        ("halfshared:r=12", 12 * (12 * 768 + 768), 12 * (12 * 768 + 12)),
        ("hyper:r=6,k=64", 64, 24 * 64 + 64 * 129 + 2 * 6 * 768 * 64),
    ],
)
def test_numbers_are_counted_as_in_the_papers(text: str, own: int, inventory: int) -> None:
    spec = parse(text)
    counts = [sum(one.weight.numbers for one in of(spec, AST_BASE).values()) for of in (owned, shared_by_tasks)]
    assert counts == [own, inventory]


@pytest.mark.parametrize("text", ["halfshared:r=3", "halfshared:share=up,r=3"])
def test_a_half_shared_bottleneck_is_one_bottleneck(text: str, backbone: Backbone) -> None:
    """Sung et al. (2022), eq. 1, with GELU: one projection is every task's, and the other one the task's own."""
    adapter, x = _adapter(text, backbone), _x(backbone)
    place = "layers.1.mhsa.parallel.half."
    own, shared = (
        {n.removeprefix(place): t.double() for n, t in some.items()} for some in (adapter.tensors, adapter.shared)
    )
    assert {name.partition(".")[0] for name in shared if "layers" not in name} == {"up" if "up" in text else "down"}
    p = {**own, **shared}
    down = x.double() @ p["down.weight"].T + p["down.bias"]
    expected = (down * (1 + torch.erf(down / 2**0.5)) / 2) @ p["up.weight"].T + p["up.bias"]
    with torch.no_grad():
        found = adapter.acts()[1, "mhsa"](torch.zeros_like, x)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_a_hyper_network_makes_the_update_of_each_place(backbone: Backbone) -> None:
    """Karimi Mahabadi et al. (2021), eq. 4 and 5: [task; place] through two layers gives the weights of the update."""
    adapter, x = _adapter("hyper:r=2,k=5", backbone), _x(backbone)
    shared = {name: t.double().numpy() for name, t in adapter.shared.items()}
    task = adapter.tensors["shared.hyper.task"].double().numpy()
    assert set(adapter.tensors) == {"shared.hyper.task"} and task.shape == (64,)
    embedded = np.concatenate([task, shared[f"{PLACE}.hyper.place"]])
    hidden = np.maximum(shared["shared.hyper.first.weight"] @ embedded + shared["shared.hyper.first.bias"], 0)
    a, b = shared["shared.hyper.a"] @ hidden, shared["shared.hyper.b"] @ hidden
    np.testing.assert_allclose(_delta(adapter, x), x.double().numpy() @ a.T @ b.T, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("text", SPECS)
def test_what_acts_is_the_ordinary_method_and_its_numbers_are_those_of_training(
    text: str, backbone: Backbone, features: Tensor, fresh: Fresh, randomise: Randomise
) -> None:
    model = randomise(fresh(text))
    in_training = model.logits(features)
    acting = model.adapter.acting
    assert acting.spec == parse(model.settings.method.acts_as) and not acting.spec.acts_as
    stored = read_again(model, backbone)
    assert torch.equal(stored.logits(features), in_training)
    assert to_bytes(stored, backbone, {}, {}) == to_bytes(model, backbone, {}, {})
    assert stored.adapter.acting is stored.adapter.acting and torch.equal(stored.logits(features), in_training)
    with backbone.attached(acting):
        torch.testing.assert_close(stored.classify(backbone.run(stored.embed(features))), in_training, rtol=0, atol=0)


@pytest.mark.parametrize("text", SPECS)
def test_its_rows_share_a_batch_with_those_of_other_methods(
    text: str, backbone: Backbone, features: Tensor, fresh: Fresh, randomise: Randomise
) -> None:
    model = randomise(fresh(text))
    stored = read_again(model, backbone)
    others = [randomise(fresh(other, seed=1)) for other in ("lora:qv,r=4", "bottleneck:ffn,r=2", "linear")]
    models = [stored, *others]
    found = logits([(one, features[0]) for one in models])
    for one, row in zip(models, found, strict=True):
        torch.testing.assert_close(row, one.logits(features[:1])[0], rtol=1e-4, atol=1e-5)


def test_skills_are_folded_into_the_backbone(
    backbone: Backbone, features: Tensor, fresh: Fresh, randomise: Randomise
) -> None:
    model = randomise(fresh("poly:s=3,r=2"))
    folded = merged(model)
    assert not folded.adapter.tensors
    torch.testing.assert_close(folded.logits(features), model.logits(features), rtol=1e-4, atol=1e-4)


def test_a_shared_part_of_other_tensors_is_refused_and_so_is_none(backbone: Backbone) -> None:
    spec = parse("poly:s=3,r=2")
    own = _adapter("poly:s=3,r=2", backbone).tensors
    with pytest.raises(MethodError, match="cl-ast share NAME"):
        Adapter(spec, backbone, own)
    with pytest.raises(MethodError, match="shared part"):
        Adapter(spec, backbone, own, shared_part(parse("poly:s=3,r=4"), backbone))
    with pytest.raises(MethodError, match="poly cannot be combined"):
        parse("poly+lora")
