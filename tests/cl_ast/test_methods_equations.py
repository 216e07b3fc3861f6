"""Each form against a straight transcription of its paper's equation, and LoRA against peft."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.adapter import params_of
from cl_ast.adapters.forms import (
    Base,
    BlockAffine,
    Bottleneck,
    Compacter,
    Convpass,
    DenseMixture,
    GatedPrefix,
    HeadBottleneck,
    HeadsForm,
    LowRank,
    OneBit,
    PartialConnections,
    Prefix,
    ScaledBottleneck,
    ScaleShift,
    Shift,
    SingularVectors,
    SoftMixture,
    SparseMixture,
    WithResidual,
)
from cl_ast.adapters.packing import binary, packed, unpacked
from cl_ast.backbone import Backbone, Heads
from cl_ast.task_model import TaskModel

WIDTH, OUT, RANK, TOKENS, HEADS = 32, 24, 8, 11, 4

P = dict[str, Tensor]


def _params(form: Base, seed: int = 0, out: int = OUT) -> P:
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, weight in form.weights(WIDTH, out).items():
        made[name] = weight.make(generator)
        if made[name].is_floating_point():
            made[name] = 0.3 * torch.randn(weight.shape, generator=generator)
    return {**made, "stock.weight": 0.3 * torch.randn(out, WIDTH, generator=generator)}


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))


# A delta, or a new value, from a hidden state: one clip (tokens, width) at a time, as the papers write it


def _bottleneck(x: Tensor, p: P, f: Callable[[Tensor], Tensor] = F.gelu) -> Tensor:
    return f(x @ p["down.weight"].T + p["down.bias"]) @ p["up.weight"].T + p["up.bias"]


def _convpass(x: Tensor, p: P) -> Tensor:
    """Jie & Deng 2022, figure 2, over the sequence."""
    hidden = F.gelu(x @ p["down.weight"].T + p["down.bias"])
    kernel = p["conv.weight"].shape[-1]
    padded = torch.cat([torch.zeros((kernel - 1) // 2, RANK), hidden, torch.zeros(kernel // 2, RANK)])
    out = torch.stack(
        [
            sum(padded[t + k] @ p["conv.weight"][:, :, k].T for k in range(kernel)) + p["conv.bias"]
            for t in range(len(x))
        ]
    )
    return F.gelu(out) @ p["up.weight"].T + p["up.bias"]


def _compacter(x: Tensor, p: P) -> Tensor:
    """Karimi Mahabadi et al. 2021, eq. 4 and 5: W = sum of A_i ⊗ (s_i t_iᵀ)."""

    def weight(side: str) -> Tensor:
        s, t = p[f"{side}.s"], p[f"{side}.t"]
        return sum(torch.kron(p["slow4"][i], torch.outer(s[i], t[i])) for i in range(4))

    return F.gelu(x @ weight("down").T + p["down.bias"]) @ weight("up").T + p["up.bias"]


def _moa(x: Tensor, p: P) -> Tensor:
    """Soft mixture of adapters (2024), dense: every adapter on every token, weighed by the router."""
    gates = torch.softmax(x @ p["gate.weight"].T + p["gate.bias"], dim=-1)
    return sum(gates[:, [e]] * _bottleneck(x, _expert(p, e)) for e in range(3))


def _softmoa(x: Tensor, p: P) -> Tensor:
    """Puigcerver et al. 2024, eq. 1 to 3: slot s belongs to expert s // 2."""
    logits = x @ p["slots"].T
    dispatch, combine = torch.softmax(logits, dim=0), torch.softmax(logits, dim=1)
    return sum(
        combine[:, [s]] * _bottleneck((dispatch[:, s] @ x)[None], _expert(p, s // 2)) for s in range(logits.shape[1])
    )


def _expert(p: P, e: int) -> P:
    return {name: p[name][e] for name in ("down.weight", "down.bias", "up.weight", "up.bias")}


def _one_bit(x: Tensor, p: P) -> Tensor:
    def q(weight: Tensor) -> Tensor:
        return weight.sign() * float(weight.abs().mean().bfloat16())

    return 0.5 * F.gelu(x @ q(p["down"]).T) @ q(p["up"]).T


def _bone(x: Tensor, p: P) -> Tensor:
    """Kang 2024: ΔW_ij = W_ij B_i + B_i, block by block."""
    w, b = p["stock.weight"], p["blocks"]
    update = torch.zeros_like(w)
    for i in range(OUT // 8):
        for j in range(WIDTH // 8):
            block = w[8 * i : 8 * i + 8, 8 * j : 8 * j + 8]
            update[8 * i : 8 * i + 8, 8 * j : 8 * j + 8] = block @ b[i] + b[i]
    return x @ update.T


def _paca(x: Tensor, p: P) -> Tensor:
    """Woo et al. 2025: only the chosen columns of W change."""
    update = torch.zeros(OUT, WIDTH)
    for place, column in enumerate(p["columns"].tolist()):
        update[:, column] = p["d"][:, place]
    return x @ update.T


def _sorsa(x: Tensor, p: P) -> Tensor:
    return x @ (p["u"] @ torch.diag(p["s"]) @ p["v"] - p["was.us"] @ p["was.v"]).T


def _scaled(x: Tensor, p: P) -> Tensor:
    return 4 * _bottleneck(x, p, F.relu)


PAPERS: dict[str, tuple[Base, Callable[[Tensor, P], Tensor]]] = {
    "bottleneck": (Bottleneck(RANK), _bottleneck),
    "residual": (WithResidual(Bottleneck(RANK)), lambda x, p: x + _bottleneck(x, p)),
    "scaled": (ScaledBottleneck(RANK, 4.0), _scaled),
    "learned scale": (ScaledBottleneck(RANK, 4.0, True), lambda x, p: p["scale"] * _scaled(x, p)),
    "convpass": (Convpass(RANK), _convpass),
    "convpass, even": (Convpass(RANK, 4), _convpass),
    "compacter": (Compacter(RANK, 4), _compacter),
    "mosa": (SparseMixture(RANK, 3), _bottleneck),
    "moa": (DenseMixture(RANK, 3), _moa),
    "softmoa": (SoftMixture(RANK, 3, 2), _softmoa),
    "onebit": (OneBit(RANK, 0.5), _one_bit),
    "lora": (LowRank(RANK, 3.0), lambda x, p: 3 * x @ p["a"].T @ p["b"].T),
    "paca": (PartialConnections(RANK), _paca),
    "bone": (BlockAffine(8), _bone),
    "sorsa": (SingularVectors(RANK), _sorsa),
}
_SAME = {"residual", "ssf"}  # as wide out as in


@pytest.mark.parametrize("name", PAPERS)
def test_a_delta_is_the_papers_equation(name: str, x: Tensor) -> None:
    form, paper = PAPERS[name]
    p = _params(form, out=WIDTH if name in _SAME else OUT)
    expected = torch.stack([paper(clip, p) for clip in x])
    torch.testing.assert_close(form.delta(x, p), expected, rtol=0, atol=1e-5)


def test_scale_and_shift_and_bitfit_are_theirs(x: Tensor) -> None:
    p = _params(ScaleShift(), out=WIDTH)
    torch.testing.assert_close(ScaleShift().delta(x, p), p["scale"] * x + p["shift"])
    assert torch.equal(Shift().delta(x, {"bias": p["shift"]}), p["shift"])


def test_mosa_trains_one_of_its_parts_and_they_make_up_the_whole(x: Tensor) -> None:
    form = SparseMixture(RANK, 3)
    p = _params(form)
    masks = [form.mask(p["up.weight"], part) for part in range(3)]
    assert torch.equal(sum(masks), torch.ones(OUT, RANK))
    parts = [torch.stack([_bottleneck(c, {**p, "up.weight": p["up.weight"] * m}) for c in x]) for m in masks]
    seen = set()
    for _ in range(30):
        out = form.delta(x, p, training=True)
        (active,) = [i for i, part in enumerate(parts) if torch.allclose(out, part, atol=1e-5)]
        seen.add(active)
    assert seen == {0, 1, 2}


def test_a_singular_start_is_the_best_approximation_of_the_weight() -> None:
    weight = torch.randn(OUT, WIDTH, generator=torch.Generator().manual_seed(3))
    p = SingularVectors(5).start({"weight": weight})
    left, values, right = torch.linalg.svd(weight)
    expected = left[:, :5] @ torch.diag(values[:5]) @ right[:5]
    torch.testing.assert_close(p["u"] @ torch.diag(p["s"]) @ p["v"], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(p["was.us"] @ p["was.v"], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (8, 16), (7, 100)])
def test_packed_weights_come_back_to_the_bit_and_stay_what_they_are(shape: tuple[int, int]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    weight[0, 0] = 0
    again = unpacked(packed(weight), shape)
    assert torch.equal(again, binary(weight))
    assert torch.equal(binary(again), again)
    assert len(packed(weight)) == 4 + -(-math.prod(shape) // 8)


# Inside attention: one head of one clip at a time


def _softmax(scores: Tensor) -> Tensor:
    return torch.softmax(scores / math.sqrt(WIDTH // HEADS), dim=-1)


def _prefix(q: Tensor, k: Tensor, v: Tensor, p: P) -> Tensor:
    """He et al. 2022, eq. 5."""
    return _softmax(q @ torch.cat([p["keys"], k]).T) @ torch.cat([p["values"], v])


def _gated(q: Tensor, k: Tensor, v: Tensor, p: P) -> Tensor:
    """He et al. 2022, eq. 7 to 9, with λ as eq. 8 has it."""
    on_prefix = (q @ p["keys"].T / math.sqrt(WIDTH // HEADS)).exp().sum(-1, keepdim=True)
    on_rest = (q @ k.T / math.sqrt(WIDTH // HEADS)).exp().sum(-1, keepdim=True)
    gate = on_prefix / (on_prefix + on_rest)
    return (1 - gate) * (_softmax(q @ k.T) @ v) + gate * (_softmax(q @ p["keys"].T) @ p["values"])


def _added(q: Tensor, k: Tensor, v: Tensor, p: P) -> Tensor:
    return _softmax(q @ k.T) @ v + _softmax(q @ p["keys"].T) @ p["values"]


def _multihead(q: Tensor, k: Tensor, v: Tensor, p: P) -> Tensor:
    """He et al. 2022, section 3.3, with W_down of (d_h, r) and W_up of (r, d_h)."""
    return _softmax(q @ k.T) @ v + F.relu(q @ p["down"].T) @ p["up"]


IN_HEADS: dict[str, tuple[HeadsForm, Callable[[Tensor, Tensor, Tensor, P], Tensor]]] = {
    "prefix": (Prefix(6), _prefix),
    "gated": (GatedPrefix(6), _gated),
    "added": (GatedPrefix(6, gated=False), _added),
    "multihead": (HeadBottleneck(5), _multihead),
}


@pytest.mark.parametrize("name", IN_HEADS)
def test_a_head_is_the_papers_equation(name: str) -> None:
    form, paper = IN_HEADS[name]
    p = _params(form, out=WIDTH)
    size = WIDTH // HEADS
    q, k, v = torch.randn(3, 2, HEADS, TOKENS, size, generator=torch.Generator().manual_seed(2))
    found = form.attend(lambda x: F.scaled_dot_product_attention(x.q, x.k, x.v), Heads(q, k, v), p)
    for clip in range(2):
        for head in range(HEADS):
            own = {key: t[:, head * size : (head + 1) * size] for key, t in p.items()}
            expected = paper(q[clip, head], k[clip, head], v[clip, head], own)
            torch.testing.assert_close(found[clip, head], expected, rtol=0, atol=1e-5)


def test_the_gated_adapter_is_prefix_tuning_in_another_form() -> None:
    q, k, v = torch.randn(3, 2, HEADS, TOKENS, 8, generator=torch.Generator().manual_seed(2))
    p = _params(Prefix(6), out=WIDTH)

    def run(x: Heads) -> Tensor:
        return F.scaled_dot_product_attention(x.q, x.k, x.v)

    one, other = Prefix(6).attend(run, Heads(q, k, v), p), GatedPrefix(6).attend(run, Heads(q, k, v), p)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


# In the trunk: where it acts. The first layer, written out from the trunk's own modules


def _changed(model: TaskModel) -> TaskModel:
    generator = torch.Generator().manual_seed(9)
    for tensor in model.adapter.tensors.values():
        tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
    return model


def _own(model: TaskModel, layer: int, site: str, insertion: str) -> P:
    (placement,) = [
        one
        for one in model.settings.method.placements
        if (one.site, one.insertion) == (site, insertion) and one.acts_in(layer)
    ]
    return params_of(model.adapter.tensors, model.backbone.shape, layer, placement)


def _first_layer(trunk: Backbone, model: TaskModel, tokens: Tensor) -> Tensor:
    with torch.no_grad(), model.acting():
        return trunk.run(tokens, last=1)


def _norm(trunk: Backbone, site: str, x: Tensor, own: P | None = None) -> Tensor:
    p = own or {kind: trunk.tensor(0, site, kind) for kind in ("weight", "bias")}
    return F.layer_norm(x, (WIDTH,), p["weight"], p["bias"], trunk.shape.norm_eps)


@pytest.mark.parametrize(
    ("text", "insertion", "output"),
    [
        ("bottleneck:ffn,residual", "parallel", lambda h, x, f: h(x) + x + f(x)),
        ("bottleneck:ffn,sequential,noresidual", "output", lambda h, x, f: f(h(x))),
        ("bottleneck:ffn,sequential,before,noresidual", "input", lambda h, x, f: h(f(x))),
        ("bottleneck:ffn,sequential", "after", lambda h, x, f: h(x) + f(h(x))),
        ("bottleneck:ffn,after", "after", lambda h, x, f: h(x) + f(h(x))),
    ],
)
def test_residuals_are_where_table_vii_has_them(
    text: str, insertion: str, output: Callable[..., Tensor], trunk: Backbone, features: Tensor, fresh
) -> None:
    model = _changed(fresh(text))
    tokens = trunk.embed(features)
    layer = trunk.model.layers[0]
    hidden = tokens + layer.attention(_norm(trunk, "norm_mhsa", tokens))[0]
    normed = _norm(trunk, "norm_ffn", hidden, _own(model, 0, "norm_ffn", "replace"))
    p = _own(model, 0, "ffn", insertion)
    expected = hidden + output(layer.mlp, normed, lambda value: _bottleneck(value, p))
    torch.testing.assert_close(_first_layer(trunk, model, tokens), expected, rtol=0, atol=1e-5)


def test_hydra_is_parallel_and_sequential_at_once(trunk: Backbone, features: Tensor, fresh) -> None:
    model = _changed(fresh("hydra"))
    tokens = trunk.embed(features)
    layer = trunk.model.layers[0]
    hidden = tokens + layer.attention(_norm(trunk, "norm_mhsa", tokens))[0]
    normed = _norm(trunk, "norm_ffn", hidden, _own(model, 0, "norm_ffn", "replace"))
    out = layer.mlp(normed)
    beside = _bottleneck(normed, _own(model, 0, "ffn", "parallel"))
    behind = _bottleneck(out, _own(model, 0, "ffn", "after"))
    expected = hidden + out + beside + behind
    torch.testing.assert_close(_first_layer(trunk, model, tokens), expected, rtol=0, atol=1e-5)


def test_mixed_houlsby_is_parallel_at_mhsa_and_sequential_at_the_ffn(trunk: Backbone, features, fresh) -> None:
    model = _changed(fresh("bottleneck:houlsby,mixed"))
    tokens = trunk.embed(features)
    layer = trunk.model.layers[0]
    normed = _norm(trunk, "norm_mhsa", tokens, _own(model, 0, "norm_mhsa", "replace"))
    hidden = tokens + layer.attention(normed)[0] + _bottleneck(normed, _own(model, 0, "mhsa", "parallel"))
    out = layer.mlp(_norm(trunk, "norm_ffn", hidden, _own(model, 0, "norm_ffn", "replace")))
    expected = hidden + out + _bottleneck(out, _own(model, 0, "ffn", "after"))
    torch.testing.assert_close(_first_layer(trunk, model, tokens), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("depth", ["shallow", "deep"])
def test_prompts_stand_before_the_tokens_and_deep_ones_replace_the_last_layers(
    depth: str, trunk: Backbone, features: Tensor, fresh
) -> None:
    model = fresh(f"prompt:{depth},n=5")
    tokens = trunk.embed(features)
    first, second = trunk.model.layers
    prompts = [t.expand(len(tokens), -1, -1) for t in model.adapter.tensors.values()]
    hidden = first(torch.cat([prompts[0], tokens], dim=1))
    if depth == "deep":
        hidden = torch.cat([prompts[1], hidden[:, 5:]], dim=1)
    expected = second(hidden)
    with model.acting():
        found = trunk.run(tokens)
    assert found.shape[1] == tokens.shape[1] + 5
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    # The mean is over all of them, prompts too, as the papers pool.
    pooled = F.layer_norm(expected, (WIDTH,), *(model.head[f"head.norm.{k}"] for k in ("weight", "bias")), 1e-12)
    logits = F.linear(pooled.mean(dim=1), model.head["head.weight"], model.head["head.bias"])
    torch.testing.assert_close(model.logits(features), logits, rtol=0, atol=1e-5)


def test_a_prefix_and_lora_meet_in_one_attention(trunk: Backbone, features: Tensor, fresh) -> None:
    """Q, K and V carry their low-rank updates, and K and V the prefix, before one softmax."""
    model = _changed(fresh("prefix:n=6+lora:qkv,r=2,s=3"))
    tokens = trunk.embed(features)
    layer = trunk.model.layers[0]
    normed = _norm(trunk, "norm_mhsa", tokens)
    q, k, v = (
        F.linear(normed, trunk.tensor(0, site, "weight"), trunk.tensor(0, site, "bias"))
        + 3 * normed @ _own(model, 0, site, "parallel")["a"].T @ _own(model, 0, site, "parallel")["b"].T
        for site in "qkv"
    )
    p = _own(model, 0, "heads", "attend")
    size = WIDTH // HEADS
    clips = []
    for clip in range(len(tokens)):
        parts = [slice(h * size, (h + 1) * size) for h in range(HEADS)]
        own = [{name: t[:, part] for name, t in p.items()} for part in parts]
        heads = [_prefix(q[clip][:, s], k[clip][:, s], v[clip][:, s], o) for s, o in zip(parts, own, strict=True)]
        clips.append(torch.cat(heads, dim=-1))
    out = F.linear(torch.stack(clips), trunk.tensor(0, "o", "weight"), trunk.tensor(0, "o", "bias"))
    hidden = tokens + out
    expected = hidden + layer.mlp(_norm(trunk, "norm_ffn", hidden))
    torch.testing.assert_close(_first_layer(trunk, model, tokens), expected, rtol=0, atol=1e-5)


def test_bitfit_is_the_trunk_with_other_biases(trunk: Backbone, features: Tensor, fresh) -> None:
    model = _changed(fresh("bitfit"))
    twin = trunk.copy()
    with torch.no_grad():
        for name, tensor in model.adapter.tensors.items():
            _, layer, site, *_ = name.split(".")
            twin.tensors()[f"layers.{layer}.{site}.bias"].add_(tensor)
        with model.acting():
            found = trunk.run(trunk.embed(features))
        torch.testing.assert_close(found, twin.run(twin.embed(features)), rtol=0, atol=1e-5)


# Against peft


@pytest.mark.parametrize(("sites", "modules"), [("qv", "q v"), ("qkvo", "q k v o"), ("ffn", "fc1 fc2")])
def test_lora_is_pefts(sites: str, modules: str, trunk: Backbone, trunk_folder: Path, fresh) -> None:
    peft = pytest.importorskip("peft")
    from transformers import ASTModel

    model = _changed(fresh(f"lora:{sites},r=3,s=5", frames=128))
    names = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "o_proj", "fc1": "fc1", "fc2": "fc2"}
    targets = [names[site] for site in modules.split()]
    stock = ASTModel.from_pretrained(trunk_folder, attn_implementation="sdpa")
    theirs = peft.get_peft_model(stock, peft.LoraConfig(r=3, lora_alpha=15, target_modules=targets)).eval()
    filled = 0
    with torch.no_grad():
        for path, parameter in theirs.named_parameters():
            for site in modules.split():
                if f".{names[site]}.lora_" in path:
                    layer = path.split("layers.")[1].split(".")[0]
                    side = "a" if "lora_A" in path else "b"
                    parameter.copy_(model.adapter.tensors[f"layers.{layer}.{site}.parallel.lora.{side}"])
                    filled += 1
        assert filled == len(model.adapter.tensors)
        features = torch.randn(2, 128, 128, generator=torch.Generator().manual_seed(4))
        with model.acting():
            ours = trunk.norm(trunk.run(trunk.embed(features)))
        torch.testing.assert_close(ours, theirs(features).last_hidden_state, rtol=0, atol=1e-5)
