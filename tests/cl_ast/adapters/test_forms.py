"""Each form against its paper's equation, written here with torch's own modules."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from cl_ast.adapters.forms import Bottleneck, Conformer, Form, LowRank, Norm
from cl_ast.adapters.placement import Insertion, Part, Placement, act
from cl_ast.backbone.backbone import Backbone
from tests.cl_ast.conftest import Fresh, Randomise

WIDTH, RANK, TOKENS = 32, 6, 42  # 42 tokens are 60 frames of the tiny backbone

Params = dict[str, Tensor]

# What torch says of even kernels is about speed.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")


def _random(form: Form, seed: int = 0, width_out: int = WIDTH) -> Params:
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, weight in form.weights(WIDTH, width_out).items():
        noise = 0.3 * torch.randn(weight.shape, generator=generator)
        made[name] = 0.5 + noise.abs() if name.endswith("batchnorm.var") else noise
    return made


def _linear(p: Params, name: str) -> nn.Linear:
    weight = p[f"{name}.weight"]
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": p[f"{name}.bias"]})
    return layer


def _bottleneck(p: Params) -> nn.Module:
    """PETL of AST, eq. 6: GELU(x W_down + b) W_up + b."""
    return nn.Sequential(_linear(p, "down"), nn.GELU(), _linear(p, "up"))


class PaperConformer(nn.Module):
    """PETL with conformer adapters, figure 1: LayerNorm, pointwise, GLU, depthwise, BatchNorm, Swish, pointwise."""

    def __init__(self, p: Params, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.norm.load_state_dict({"weight": p["norm.weight"], "bias": p["norm.bias"]})
        self.down = nn.Conv1d(WIDTH, 2 * RANK, 1)
        self.down.load_state_dict({"weight": p["down.weight"][..., None], "bias": p["down.bias"]})
        self.glu = nn.GLU(dim=1)
        self.depthwise = nn.Conv1d(RANK, RANK, kernel, groups=RANK, padding="same")
        self.depthwise.load_state_dict({"weight": p["depthwise.weight"][:, None], "bias": p["depthwise.bias"]})
        self.batch_norm = nn.BatchNorm1d(RANK)
        state = {"weight": "weight", "bias": "bias", "running_mean": "mean", "running_var": "var"}
        self.batch_norm.load_state_dict({k: p[f"batchnorm.{ours}"] for k, ours in state.items()}, strict=False)
        self.up = nn.Conv1d(RANK, WIDTH, 1)
        self.up.load_state_dict({"weight": p["up.weight"][..., None], "bias": p["up.bias"]})

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.glu(self.down(self.norm(x).transpose(1, 2)))
        hidden = nn.functional.silu(self.batch_norm(self.depthwise(hidden)))
        out: Tensor = self.up(hidden)
        return out.transpose(1, 2)


class PaperLora(nn.Module):
    """Hu et al. 2022: s · x A B."""

    def __init__(self, p: Params, scale: float) -> None:
        super().__init__()
        self.product = scale * (p["b"] @ p["a"])

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.product.T


FORMS: dict[str, tuple[Form, Callable[[Params], nn.Module]]] = {
    "bottleneck": (Bottleneck(RANK), _bottleneck),
    "conformer, odd kernel": (Conformer(RANK, 31), lambda p: PaperConformer(p, 31)),
    "conformer, even kernel": (Conformer(RANK, 8), lambda p: PaperConformer(p, 8)),
    "conformer, kernel wider than the clip": (Conformer(RANK, 101), lambda p: PaperConformer(p, 101)),
    "lora": (LowRank(RANK, 8.0), lambda p: PaperLora(p, 8.0)),
}


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", FORMS)
def test_a_delta_is_the_papers_equation(name: str, x: Tensor) -> None:
    form, paper = FORMS[name]
    p = _random(form)
    torch.testing.assert_close(form.delta(x, p), paper(p).eval()(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", [31, 8])
def test_a_conformer_in_training_is_the_papers_with_its_running_statistics(kernel: int, x: Tensor) -> None:
    form = Conformer(RANK, kernel)
    p = _random(form)
    paper = PaperConformer({name: tensor.clone() for name, tensor in p.items()}, kernel).train()
    for _ in range(3):
        torch.testing.assert_close(form.delta(x, p, training=True), paper(x), rtol=0, atol=1e-5)
    torch.testing.assert_close(p["batchnorm.mean"], paper.batch_norm.running_mean)
    torch.testing.assert_close(p["batchnorm.var"], paper.batch_norm.running_var)


def test_lora_between_other_widths() -> None:
    form = LowRank(RANK, 2.0)
    p = _random(form, width_out=50)
    x = torch.randn(2, 7, WIDTH, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(form.delta(x, p), 2 * x @ p["a"].T @ p["b"].T, rtol=0, atol=1e-5)


def test_a_norm_is_a_layer_norm_of_its_own(x: Tensor) -> None:
    p = _random(Norm())
    paper = nn.LayerNorm(WIDTH, eps=1e-12)
    paper.load_state_dict(p)
    torch.testing.assert_close(Norm().delta(x, p), paper(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("form", [*(form for form, _ in FORMS.values()), Norm()], ids=[*FORMS, "norm"])
def test_weights_of_its_own_for_each_row_are_each_row_alone(form: Form, x: Tensor) -> None:
    each = [_random(form, seed) for seed in range(len(x))]
    stacked = {name: torch.stack([p[name] for p in each]) for name in each[0]}
    alone = torch.cat([form.delta(row[None], p) for row, p in zip(x, each, strict=True)])
    torch.testing.assert_close(form.delta(x, stacked), alone, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(alone[0], form.delta(x, each[1])[0])


# In the backbone: one layer with an adapter is the layer of the paper's figure


@pytest.mark.parametrize("form", ["bottleneck:r=6", "conformer:r=6,k=7"])
@pytest.mark.parametrize("block", ["mhsa", "ffn"])
@pytest.mark.parametrize("insertion", ["parallel", "sequential", "sequential,before,skip"])
def test_an_adapted_layer_is_the_papers(
    form: str, block: str, insertion: str, backbone: Backbone, features: Tensor,
    fresh: Fresh, randomise: Randomise,
) -> None:  # fmt: skip
    model = randomise(fresh(f"{form},{block},{insertion}"))
    kind = {"parallel": "parallel", "sequential": "after", "sequential,before,skip": "before"}[insertion]
    name = form.partition(":")[0]
    prefix = f"layers.0.{block}.{kind}.{name}."
    own = {key.removeprefix(prefix): t for key, t in model.adapter.tensors.items() if key.startswith(prefix)}
    paper = _bottleneck(own) if name == "bottleneck" else PaperConformer(own, 7)
    adapter: Callable[[Tensor], Tensor] = paper.eval()
    layer = backbone.model.layers[0]

    def adapted(which: str, stock: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
        norm = nn.LayerNorm(WIDTH, eps=backbone.shape.norm_eps)
        source = {kind: backbone.tensor(0, f"norm_{which}", kind) for kind in ("weight", "bias")}
        if which == block:  # its LayerNorm is trained with it
            source = {kind: model.adapter.tensors[f"layers.0.norm_{block}.replace.norm.{kind}"] for kind in source}
        norm.load_state_dict(source)
        normed = norm(value)
        if which != block:
            return stock(normed)
        if kind == "parallel":
            return stock(normed) + adapter(normed)
        if kind == "after":
            return stock(normed) + adapter(stock(normed))
        return stock(normed + adapter(normed))

    with torch.no_grad():
        tokens = backbone.embed(features)
        hidden = tokens + adapted("mhsa", lambda value: layer.attention(value)[0], tokens)
        expected = hidden + adapted("ffn", layer.mlp, hidden)
        with model.acting():
            torch.testing.assert_close(backbone.run(tokens, last=1), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("site", ["q", "v", "fc1", "fc2"])
def test_lora_at_a_linear_map_is_the_map_with_its_weight_shifted(
    site: str, backbone: Backbone, features: Tensor,
    fresh: Fresh, randomise: Randomise,
) -> None:  # fmt: skip
    model = randomise(fresh("lora:ffn,r=2,s=3" if site.startswith("fc") else f"lora:{site},r=2,s=3"))
    merged = backbone.copy()
    with torch.no_grad():
        for name, tensor in merged.tensors().items():
            _, layer, place, kind = [*name.split("."), "", ""][:4]
            a, b = (model.adapter.tensors.get(f"layers.{layer}.{place}.parallel.lora.{side}") for side in "ab")
            if kind == "weight" and a is not None and b is not None:
                tensor.add_(3 * b @ a)
        expected = merged.run(merged.embed(features))
        with model.acting():
            torch.testing.assert_close(backbone.run(backbone.embed(features)), expected, rtol=0, atol=2e-5)


def test_several_deltas_at_one_block_do_not_see_one_another(x: Tensor) -> None:
    """h = block(x + before(x)) + parallel(x) + after(block(x + before(x))), where each may be a sum."""
    low, wide = LowRank(RANK, 1.0), Bottleneck(RANK)
    rows: list[tuple[Form, Insertion]] = [
        (low, "after"), (low, "parallel"), (wide, "parallel"), (low, "before"), (wide, "before"),
    ]  # fmt: skip
    own = [_random(form, seed) for seed, (form, _) in enumerate(rows)]
    parts = [Part(Placement("ffn", form, kind), p) for (form, kind), p in zip(rows, own, strict=True)]
    after, parallel, parallel_too, before, before_too = (
        partial(form.delta, p=p) for (form, _), p in zip(rows, own, strict=True)
    )
    stock = torch.tanh(x + before(x) + before_too(x))
    expected = stock + parallel(x) + parallel_too(x) + after(stock)
    torch.testing.assert_close(act(parts, torch.tanh, x), expected, rtol=1e-5, atol=1e-5)
