"""Where each form acts: the backbone's layers written out with it, and LoRA's against peft's."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.placed_tensors import params_of
from cl_ast.backbone.backbone import Backbone
from cl_ast.tasks.task_model import TaskModel
from tests.cl_ast.conftest import Fresh

WIDTH, HEADS = 32, 4  # of the tiny backbone

P = dict[str, Tensor]


def _bottleneck(x: Tensor, p: P) -> Tensor:
    return F.gelu(x @ p["down.weight"].T + p["down.bias"]) @ p["up.weight"].T + p["up.bias"]


def _prefix(q: Tensor, k: Tensor, v: Tensor, p: P) -> Tensor:
    """One head of one clip: He et al. 2022, eq. 5."""
    scores = q @ torch.cat([p["keys"], k]).T / math.sqrt(WIDTH // HEADS)
    return torch.softmax(scores, dim=-1) @ torch.cat([p["values"], v])


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


def _first_layer(backbone: Backbone, model: TaskModel, tokens: Tensor) -> Tensor:
    with torch.no_grad(), model.acting():
        return backbone.run(tokens, last=1)


def _norm(backbone: Backbone, site: str, x: Tensor, own: P | None = None) -> Tensor:
    p = own or {kind: backbone.tensor(0, site, kind) for kind in ("weight", "bias")}
    return F.layer_norm(x, (WIDTH,), p["weight"], p["bias"], backbone.shape.norm_eps)


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
    text: str, insertion: str, output: Callable[..., Tensor], backbone: Backbone, features: Tensor, fresh: Fresh
) -> None:
    model = _changed(fresh(text))
    tokens = backbone.embed(features)
    layer = backbone.model.layers[0]
    hidden = tokens + layer.attention(_norm(backbone, "norm_mhsa", tokens))[0]
    normed = _norm(backbone, "norm_ffn", hidden, _own(model, 0, "norm_ffn", "replace"))
    p = _own(model, 0, "ffn", insertion)
    expected = hidden + output(layer.mlp, normed, lambda value: _bottleneck(value, p))
    torch.testing.assert_close(_first_layer(backbone, model, tokens), expected, rtol=0, atol=1e-5)


def test_hydra_is_parallel_and_sequential_at_once(backbone: Backbone, features: Tensor, fresh: Fresh) -> None:
    model = _changed(fresh("hydra"))
    tokens = backbone.embed(features)
    layer = backbone.model.layers[0]
    hidden = tokens + layer.attention(_norm(backbone, "norm_mhsa", tokens))[0]
    normed = _norm(backbone, "norm_ffn", hidden, _own(model, 0, "norm_ffn", "replace"))
    out = layer.mlp(normed)
    beside = _bottleneck(normed, _own(model, 0, "ffn", "parallel"))
    behind = _bottleneck(out, _own(model, 0, "ffn", "after"))
    expected = hidden + out + beside + behind
    torch.testing.assert_close(_first_layer(backbone, model, tokens), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("block", ["mhsa", "ffn"])
def test_the_sequential_adapter_reads_the_output_of_its_block(
    block: str, backbone: Backbone, features: Tensor, fresh: Fresh
) -> None:
    """He et al. 2022, table 1, "Adapter": h ← h + ReLU(h W_down) W_up, and the LayerNorms are the backbone's."""
    model = _changed(fresh(f"sequential:{block}"))
    tokens = backbone.embed(features)
    p = _own(model, 0, block, "after")
    layer = backbone.model.layers[0]

    def adapted(site: str, h: Tensor) -> Tensor:
        hidden = torch.relu(h @ p["down.weight"].T + p["down.bias"])
        return h + hidden @ p["up.weight"].T + p["up.bias"] if site == block else h

    hidden = tokens + adapted("mhsa", layer.attention(_norm(backbone, "norm_mhsa", tokens))[0])
    expected = hidden + adapted("ffn", layer.mlp(_norm(backbone, "norm_ffn", hidden)))
    torch.testing.assert_close(_first_layer(backbone, model, tokens), expected, rtol=0, atol=1e-5)
    assert not any("norm" in name for name in model.adapter.tensors)


def test_mixed_houlsby_is_parallel_at_mhsa_and_sequential_at_the_ffn(
    backbone: Backbone, features: Tensor, fresh: Fresh
) -> None:
    model = _changed(fresh("bottleneck:houlsby,mixed"))
    tokens = backbone.embed(features)
    layer = backbone.model.layers[0]
    normed = _norm(backbone, "norm_mhsa", tokens, _own(model, 0, "norm_mhsa", "replace"))
    hidden = tokens + layer.attention(normed)[0] + _bottleneck(normed, _own(model, 0, "mhsa", "parallel"))
    out = layer.mlp(_norm(backbone, "norm_ffn", hidden, _own(model, 0, "norm_ffn", "replace")))
    expected = hidden + out + _bottleneck(out, _own(model, 0, "ffn", "after"))
    torch.testing.assert_close(_first_layer(backbone, model, tokens), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("depth", ["shallow", "deep"])
def test_prompts_stand_before_the_tokens_and_deep_ones_replace_the_last_layers(
    depth: str, backbone: Backbone, features: Tensor, fresh: Fresh
) -> None:
    model = fresh(f"prompt:{depth},n=5")
    tokens = backbone.embed(features)
    first, second = backbone.model.layers
    prompts = [t.expand(len(tokens), -1, -1) for t in model.adapter.tensors.values()]
    hidden = first(torch.cat([prompts[0], tokens], dim=1))
    if depth == "deep":
        hidden = torch.cat([prompts[1], hidden[:, 5:]], dim=1)
    expected = second(hidden)
    with model.acting():
        found = backbone.run(tokens)
    assert found.shape[1] == tokens.shape[1] + 5
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    # The mean is over all of them, prompts too, as the papers pool.
    weight, bias = (model.head[f"head.norm.{kind}"] for kind in ("weight", "bias"))
    pooled = F.layer_norm(expected, (WIDTH,), weight, bias, 1e-12)
    logits = F.linear(pooled.mean(dim=1), model.head["head.weight"], model.head["head.bias"])
    torch.testing.assert_close(model.logits(features), logits, rtol=0, atol=1e-5)


def test_a_prefix_and_lora_meet_in_one_attention(backbone: Backbone, features: Tensor, fresh: Fresh) -> None:
    """Q, K and V carry their low-rank updates, and K and V the prefix, before one softmax."""
    model = _changed(fresh("prefix:n=6+lora:qkv,r=2,s=3"))
    tokens = backbone.embed(features)
    layer = backbone.model.layers[0]
    normed = _norm(backbone, "norm_mhsa", tokens)
    q, k, v = (
        F.linear(normed, backbone.tensor(0, site, "weight"), backbone.tensor(0, site, "bias"))
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
    out = F.linear(torch.stack(clips), backbone.tensor(0, "o", "weight"), backbone.tensor(0, "o", "bias"))
    hidden = tokens + out
    expected = hidden + layer.mlp(_norm(backbone, "norm_ffn", hidden))
    torch.testing.assert_close(_first_layer(backbone, model, tokens), expected, rtol=0, atol=1e-5)


def test_bitfit_is_the_backbone_with_other_biases(backbone: Backbone, features: Tensor, fresh: Fresh) -> None:
    model = _changed(fresh("bitfit"))
    twin = backbone.copy()
    with torch.no_grad():
        for name, tensor in model.adapter.tensors.items():
            _, layer, site, *_ = name.split(".")
            twin.tensors()[f"layers.{layer}.{site}.bias"].add_(tensor)
        with model.acting():
            found = backbone.run(backbone.embed(features))
        torch.testing.assert_close(found, twin.run(twin.embed(features)), rtol=0, atol=1e-5)


# Against peft


@pytest.mark.parametrize(("sites", "modules"), [("qv", "q v"), ("qkvo", "q k v o"), ("ffn", "fc1 fc2")])
def test_lora_is_pefts(sites: str, modules: str, backbone: Backbone, backbone_folder: Path, fresh: Fresh) -> None:
    peft = pytest.importorskip("peft")
    from transformers import ASTModel

    model = _changed(fresh(f"lora:{sites},r=3,s=5", frames=128))
    names = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "o_proj", "fc1": "fc1", "fc2": "fc2"}
    targets = [names[site] for site in modules.split()]
    stock = ASTModel.from_pretrained(backbone_folder, attn_implementation="sdpa")
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
            ours = backbone.norm(backbone.run(backbone.embed(features)))
        torch.testing.assert_close(ours, theirs(features).last_hidden_state, rtol=0, atol=1e-5)
