"""Each form against a straight transcription of its paper's equation, and LoRA against peft."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.forms import (
    Base,
    BlockAffine,
    Bottleneck,
    Compacter,
    Convpass,
    Decomposed,
    DenseMixture,
    Form,
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
from cl_ast.adapters.one_bit import binary, centred, packed, packed_centred, unpacked, unpacked_centred
from cl_ast.backbone.sites import Heads

WIDTH, OUT, RANK, TOKENS, HEADS = 32, 24, 8, 11, 4

NOTHING = torch.zeros(())  # where sums of tensors start

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
            sum((padded[t + k] @ p["conv.weight"][:, :, k].T for k in range(kernel)), NOTHING) + p["conv.bias"]
            for t in range(len(x))
        ]
    )
    return F.gelu(out) @ p["up.weight"].T + p["up.bias"]


def _compacter(x: Tensor, p: P) -> Tensor:
    """Karimi Mahabadi et al. 2021, eq. 4 and 5: W = sum of A_i ⊗ (s_i t_iᵀ)."""

    def weight(side: str) -> Tensor:
        s, t = p[f"{side}.s"], p[f"{side}.t"]
        return sum((torch.kron(p["slow4"][i], torch.outer(s[i], t[i])) for i in range(4)), NOTHING)

    return F.gelu(x @ weight("down").T + p["down.bias"]) @ weight("up").T + p["up.bias"]


def _moa(x: Tensor, p: P) -> Tensor:
    """Soft mixture of adapters (2024), dense: every adapter on every token, weighed by the router."""
    gates = torch.softmax(x @ p["gate.weight"].T + p["gate.bias"], dim=-1)
    return sum((gates[:, [e]] * _bottleneck(x, _expert(p, e)) for e in range(3)), NOTHING)


def _softmoa(x: Tensor, p: P) -> Tensor:
    """Puigcerver et al. 2024, eq. 1 to 3: slot s belongs to expert s // 2."""
    logits = x @ p["slots"].T
    dispatch, combine = torch.softmax(logits, dim=0), torch.softmax(logits, dim=1)
    slots = range(logits.shape[1])
    return sum((combine[:, [s]] * _bottleneck((dispatch[:, s] @ x)[None], _expert(p, s // 2)) for s in slots), NOTHING)


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


def _dora(x: Tensor, p: P) -> Tensor:
    """Liu et al. 2024, eq. 5: m ∘ (W + B A) / ‖W + B A‖ in place of W."""
    moved = p["stock.weight"] + 3 * p["b"] @ p["a"]
    rows = [m * row / row.square().sum().sqrt() for m, row in zip(p["m"], moved, strict=True)]
    return x @ torch.stack(rows).T - x @ p["stock.weight"].T


def _scaled(x: Tensor, p: P) -> Tensor:
    return 4 * _bottleneck(x, p, F.relu)


PAPERS: dict[str, tuple[Form, Callable[[Tensor, P], Tensor]]] = {
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
    "dora": (Decomposed(RANK, 3.0), _dora),
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


@pytest.mark.parametrize("share", ["down", "up", "none"])
def test_mosa_trains_one_of_its_parts_and_their_mean_is_the_whole(x: Tensor, share: str) -> None:
    form = SparseMixture(RANK, 3, share)
    p = _params(form)

    def parts(side: str) -> list[Tensor]:
        weight = p[f"{side}.weight"]
        return [weight] if side == share else [3 * weight * form.mask(weight, part) for part in range(3)]

    experts = [{**p, "down.weight": down, "up.weight": up} for down in parts("down") for up in parts("up")]
    for side in ("down", "up"):
        torch.testing.assert_close(sum(parts(side), NOTHING) / len(parts(side)), p[f"{side}.weight"])
    outputs = [torch.stack([_bottleneck(clip, expert) for clip in x]) for expert in experts]
    seen = set()
    for _ in range(60):
        out = form.delta(x, p, training=True)
        (active,) = [i for i, expected in enumerate(outputs) if torch.allclose(out, expected, atol=1e-4)]
        seen.add(active)
    assert len(seen) == len(experts)


def test_a_singular_start_is_the_best_approximation_of_the_weight() -> None:
    weight = torch.randn(OUT, WIDTH, generator=torch.Generator().manual_seed(3))
    p = SingularVectors(5).start({"weight": weight})
    left, values, right = torch.linalg.svd(weight)
    expected = left[:, :5] @ torch.diag(values[:5]) @ right[:5]
    torch.testing.assert_close(p["u"] @ torch.diag(p["s"]) @ p["v"], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(p["was.us"] @ p["was.v"], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (8, 16), (7, 100)])
def test_packed_weights_come_back_exactly_and_stay_what_they_are(shape: tuple[int, int]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    weight[0, 0] = 0
    again = unpacked(packed(weight), shape)
    assert torch.equal(again, binary(weight))
    assert torch.equal(binary(again), again)
    assert len(packed(weight)) == 4 + -(-math.prod(shape) // 8)


@pytest.mark.parametrize("shape", [(1, 2), (3, 5), (8, 16), (7, 100), (768, 32)])
@pytest.mark.parametrize(("mean", "deviation", "outlier"), [(0, 1, 0), (3, 0.1, 0), (-1e-4, 1e-3, 50), (2, 0, 0)])
def test_packed_centred_weights_give_the_same_values_to_the_bit(
    shape: tuple[int, int], mean: float, deviation: float, outlier: float
) -> None:
    weight = mean + deviation * torch.randn(shape, generator=torch.Generator().manual_seed(5))
    weight[0, 0] += outlier
    data = packed_centred(weight)
    again = unpacked_centred(data, shape)
    assert torch.equal(centred(again), centred(weight))
    assert torch.equal(packed_centred(again), data)
    assert len(data) == 8 + -(-math.prod(shape) // 8)


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
