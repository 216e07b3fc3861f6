"""Methods against independent transcriptions of what their authors' public code computes.

Each function below is written from the repository that it names, in our words and with our names of tensors.
"""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.forms import CentredOneBit, SparseMixture
from cl_ast.adapters.placed_tensors import params_of
from cl_ast.adapters.spec import cost, parse
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.families.ast import positions_for
from cl_ast.backbone.sites import AST_BASE
from cl_ast.errors import MethodError
from cl_ast.tasks.task_model import OWN_BACKBONE, TaskModel
from cl_ast.training.options import Hyperparameters
from cl_ast.training.recipes import recipe_for
from cl_ast.training.step import optimiser_of
from tests.cl_ast.conftest import Fresh, Randomise

WIDTH = 32  # of the tiny backbone

P = dict[str, Tensor]
Map = Callable[[Tensor], Tensor]


def _own(model: TaskModel, site: str, insertion: str, layer: int = 0) -> P:
    """Return the tensors of the form that acts there, by the form's own names."""
    (placement,) = [
        one
        for one in model.settings.method.placements
        if (one.site, one.insertion) == (site, insertion) and one.acts_in(layer) and one.form.label != "identity"
    ]
    return params_of(model.adapter.tensors, model.backbone.shape, layer, placement)


def _bottleneck(x: Tensor, p: P) -> Tensor:
    return F.linear(F.gelu(F.linear(x, p["down.weight"], p["down.bias"])), p["up.weight"], p["up.bias"])


# PETL_AST, src/AST_adapters.py: the ablation of table III


def _ablation_layer(
    x: Tensor, location: str, seq_or_par: str, before_or_after: str, norms: tuple[Map, Map], blocks: tuple[Map, Map],
    adapter: Map,
) -> Tensor:  # fmt: skip
    """One layer of `ASTLayer_adapter_ablation`: its eight cases, for MHSA and the FFN alike."""
    for name, norm, block in zip(("MHSA", "FFN"), norms, blocks, strict=True):
        normed = norm(x)
        if name != location:
            x = x + block(normed)
        elif before_or_after == "after":
            out = block(normed)
            x = x + out + adapter(out)  # cases 2, 4, 6 and 8
        elif seq_or_par == "parallel":
            x = x + block(normed) + adapter(normed)  # cases 1 and 5
        else:
            given = adapter(normed)
            x = x + block(given) + given  # cases 3 and 7
    return x


@pytest.mark.parametrize("location", ["MHSA", "FFN"])
@pytest.mark.parametrize(
    ("words", "seq_or_par", "before_or_after", "insertion"),
    [
        ("parallel", "parallel", "before", "parallel"),
        ("parallel,after", "parallel", "after", "after"),
        ("sequential", "sequential", "after", "after"),
        ("sequential,before", "sequential", "before", "input"),
    ],
)
def test_a_row_of_table_three_is_the_published_layer(
    location: str, words: str, seq_or_par: str, before_or_after: str, insertion: str, backbone: Backbone,
    features: Tensor, fresh: Fresh, randomise: Randomise,
) -> None:  # fmt: skip
    block = location.lower()
    model = randomise(fresh(f"bottleneck:{block},{words},r=6"))
    trained = _own(model, f"norm_{block}", "replace")

    def norm(which: str) -> Map:
        p = trained if which == block else {kind: backbone.tensor(0, f"norm_{which}", kind) for kind in trained}
        return lambda value: F.layer_norm(value, (WIDTH,), p["weight"], p["bias"], backbone.shape.norm_eps)

    layer, own = backbone.model.layers[0], _own(model, block, insertion)
    tokens = backbone.embed(features)
    expected = _ablation_layer(
        tokens, location, seq_or_par, before_or_after, (norm("mhsa"), norm("ffn")),
        (lambda value: layer.attention(value)[0], layer.mlp), lambda value: _bottleneck(value, own),
    )  # fmt: skip
    with torch.no_grad(), model.acting():
        torch.testing.assert_close(backbone.run(tokens, last=1), expected, rtol=0, atol=1e-5)


def test_the_published_sequential_before_loses_the_block_at_its_start_and_skip_does_not(
    backbone: Backbone, features: Tensor, fresh: Fresh
) -> None:
    """An untrained adapter gives zeros, and the published block has nothing else for its input."""
    tokens = backbone.embed(features)
    plain = backbone.run(tokens)
    for words, same in (("before,skip", True), ("before", False), ("before,noresidual", False)):
        with fresh(f"bottleneck:ffn,sequential,{words}").acting():
            assert torch.allclose(backbone.run(tokens), plain, atol=1e-5) == same


# PETL_AST, main.py and src/Wav2Vec_adapter.py: Wav2Vec 2.0


def test_full_top_trains_the_last_layers_of_a_copy_and_nothing_below(wav2vec2: Backbone, fresh: Fresh) -> None:
    """Full fine-tuning of Wav2Vec 2.0 there: `encoder.layers[-1]` and its neighbours have gradients, and the head."""
    model = fresh("full:top=1", backbone=wav2vec2)
    published = list(model.backbone.model.encoder.layers[-1].parameters())
    trained = [tensor for tensor in model.trainable() if not any(tensor is one for one in model.head.values())]
    assert {tensor.data_ptr() for tensor in trained} == {parameter.data_ptr() for parameter in published}
    count = sum(parameter.numel() for parameter in published)
    assert cost(parse("full:top=1"), wav2vec2.shape).trainable_parameters == model.trainable_parameters() == count
    assert model.frozen_layers == wav2vec2.shape.depth - 1
    stored = [name for name in model.state() if name.startswith(OWN_BACKBONE)]
    assert stored and all(name.startswith(f"{OWN_BACKBONE}layers.1.") for name in stored)


def test_full_top_of_the_papers_backbones_is_three_layers_of_seven_million() -> None:
    assert cost(parse("full:top=3"), AST_BASE).trainable_parameters == 3 * 7_087_872
    with pytest.raises(MethodError, match=r"top=13 is more than the backbone's 12 layers"):
        cost(parse("full:top=13"), AST_BASE)
    assert parse("full:top=0") == parse("full")


def test_nonorm_trains_no_layer_norm_as_the_code_for_wav2vec2(wav2vec2: Backbone, fresh: Fresh) -> None:
    names = set(fresh("bottleneck:ffn,nonorm", backbone=wav2vec2).adapter.tensors)
    assert not any("norm" in name for name in names)
    assert {name.replace("norm_ffn", "") for name in fresh("bottleneck:ffn", backbone=wav2vec2).adapter.tensors} > names


@pytest.mark.parametrize(("data_set", "epochs"), [("gsc", 50), ("fsc", 50), ("iemocap", 20), ("esc50", 50)])
def test_wav2vec2_is_trained_for_its_own_number_of_epochs(wav2vec2: Backbone, data_set: str, epochs: int) -> None:
    """hparams/train.yaml: `epochs_GSC_WAV` and `epochs_FSC_WAV`; the others have one number for both."""
    assert recipe_for(data_set, wav2vec2).epochs == epochs


@pytest.mark.parametrize(("data_set", "epochs"), [("gsc", 75), ("fsc", 75), ("iemocap", 20), ("us8k", 30)])
def test_ast_is_trained_for_its_own(backbone: Backbone, data_set: str, epochs: int) -> None:
    assert recipe_for(data_set, backbone).epochs == epochs


# SORSA, sorsalib/src/sorsa: the regulariser, and what it is multiplied by


def _orthonormality(matrices: list[Tensor]) -> Tensor:
    """`calc_ortho`: the mean over all A (r, in) and B (out, r) of how far they are from orthonormal rows or columns."""
    norms = []
    for matrix in matrices:
        gram = matrix @ matrix.T if len(matrix) == 3 else matrix.T @ matrix
        norms.append((gram - torch.eye(3)).pow(2).sum().sqrt())
    return torch.stack(norms).mean()


def test_sorsas_regulariser_is_the_mean_of_norms_that_are_not_squared(fresh: Fresh, randomise: Randomise) -> None:
    model = randomise(fresh("sorsa:qvo,r=3,g=0.5"))
    matrices = [tensor for name, tensor in model.adapter.tensors.items() if name.endswith((".sorsa.u", ".sorsa.v"))]
    assert len(matrices) == 2 * 3 * 2
    torch.testing.assert_close(model.adapter.penalty(), 0.5 * _orthonormality(matrices))


def test_sorsas_default_weight_is_the_public_codes_gamma_over_the_learning_rate() -> None:
    spec = parse("sorsa")
    assert spec.text.endswith("g=0.08")
    assert 4e-4 / spec.learning_rate == pytest.approx(0.08)


def test_weight_decay_pulls_sorsa_to_its_start_and_everything_else_to_zero(fresh: Fresh, randomise: Randomise) -> None:
    model = fresh("sorsa:q,r=3")
    start = {name: tensor.clone() for name, tensor in model.state().items()}
    untouched = {name for name in start if ".was." in name}
    with torch.no_grad():
        for name in set(start) - untouched:
            model.state()[name].add_(1.0)
    moved = {name: tensor.clone() for name, tensor in model.state().items()}
    options = Hyperparameters(epochs=1, learning_rate=0.1, weight_decay=0.5)
    optimiser = optimiser_of(model, options)
    for tensor in model.trainable():
        tensor.grad = torch.zeros_like(tensor)
    optimiser.step()
    for name, tensor in model.state().items():
        goal = start[name] if ".sorsa." in name else torch.zeros_like(tensor)
        share = 0.0 if name in untouched else 0.1 * 0.5
        torch.testing.assert_close(tensor, moved[name] + share * (goal - moved[name]), rtol=1e-5, atol=1e-5)


# MoSA, src/utils/pruner.py and src/models/vit_adapter/vit_mosa.py: random masks, and the merging of experts


def _divided(score: Tensor, parts: int) -> list[Tensor]:
    """`Pruner.divide`: part i has the scores between the quantiles i / parts and (i + 1) / parts."""
    ordered = score.flatten().sort().values
    bounds = [round(part / parts * len(ordered)) for part in range(parts + 1)]
    return [
        ((score >= ordered[low]) & (score <= ordered[high - 1])).float() for low, high in itertools.pairwise(bounds)
    ]


@pytest.mark.parametrize("shape", [(48, 12), (12, 48), (768, 12)])
def test_mosas_parts_are_disjoint_and_random_as_the_pruners(shape: tuple[int, int]) -> None:
    form, weight = SparseMixture(12, 4), torch.zeros(shape)
    published = _divided(torch.rand(shape, generator=torch.Generator().manual_seed(0)), 4)
    ours = [form.mask(weight, part) for part in range(4)]
    for masks in (published, ours):
        assert torch.equal(torch.stack(masks).sum(dim=0), torch.ones(shape))
        assert {int(mask.sum()) for mask in masks} == {weight.numel() // 4}
        if shape[0] > 40:  # no part has all of a column, or nothing of it
            assert all(mask.sum(dim=0).min() > 0 and mask.sum(dim=0).max() < shape[0] for mask in masks)
        steps = torch.stack([mask.flatten()[:-1] != mask.flatten()[1:] for mask in masks]).float().mean()
        assert 0.3 < steps < 0.45  # 2 · 1/4 · 3/4 where neighbours have nothing to do with each other
    assert torch.equal(form.mask(weight, 1), SparseMixture(12, 4, "none").mask(weight, 1))


def test_mosas_experts_are_merged_by_their_mean_and_share_the_down_projection() -> None:
    """`MoSABlock.merge("add")`: the mean of the experts' matrices; 11 of the repository's 14 scripts share down."""
    form = SparseMixture(6, 3)
    generator = torch.Generator().manual_seed(1)
    p = {name: 0.3 * torch.randn(one.shape, generator=generator) for name, one in form.weights(24, 24).items()}
    masks = [form.mask(p["up.weight"], part) for part in range(3)]
    experts = [3 * mask * p["up.weight"] for mask in masks]  # what a step uses, by the test of the equations
    merged = torch.stack(experts).sum(dim=0) / 3
    x = torch.randn(2, 5, 24, generator=generator)
    torch.testing.assert_close(form.delta(x, p), _bottleneck(x, {**p, "up.weight": merged}))
    assert "share=down" in parse("mosa").text


# 1-bit adapters, PETL-ViT, binary_adapter/utils.py and adaptformer.py


def _quantised(weight: Tensor) -> Tensor:
    """`QLinear.forward` with 1 bit; the code of two values is where `quantize` ends: ∓ the quartile of a normal."""
    quartile = 0.6744897501960817
    mean, deviation = weight.mean(), weight.std()
    scaled = (weight - mean) / (deviation + 1e-5)
    through = torch.sign(scaled).detach() * quartile + scaled - scaled.detach()
    return through * deviation + mean


def test_one_bit_weights_are_centred_and_scaled_by_their_mean_and_deviation_with_the_public_gradient() -> None:
    generator = torch.Generator().manual_seed(3)
    form = CentredOneBit(8, 0.5)
    p = {name: 0.1 + 0.3 * torch.randn(one.shape, generator=generator) for name, one in form.weights(24, 16).items()}
    theirs = {name: weight.clone().requires_grad_() for name, weight in p.items()}
    ours = {name: weight.clone().requires_grad_() for name, weight in p.items()}
    x = torch.randn(2, 5, 24, generator=generator)
    expected = 0.5 * F.relu(x @ _quantised(theirs["down"]).T) @ _quantised(theirs["up"]).T
    found = form.delta(x, ours, training=True)
    # Mean and deviation are rounded to 12 and 8 bits.
    torch.testing.assert_close(found, expected, rtol=0.01, atol=0.01 * float(expected.detach().abs().max()))
    assert torch.equal(form.delta(x, p), found)
    # With the same gradient of its output, since rounding changes the hidden numbers only a little.
    for out in (expected, found):
        out.backward(torch.ones_like(out))  # type: ignore[no-untyped-call]
    for name in p:
        gradient = theirs[name].grad
        assert gradient is not None
        torch.testing.assert_close(ours[name].grad, gradient, rtol=0.02, atol=0.02 * float(gradient.abs().max()))


# SSF, models/vision_transformer.py: after the patches, every map and LayerNorm of a layer, and the last LayerNorm


def test_ssf_scales_and_shifts_where_the_public_code_does(
    backbone: Backbone, features: Tensor, fresh: Fresh, randomise: Randomise
) -> None:
    model = randomise(fresh("ssf"))
    state = model.adapter.tensors

    def after(layer: int, site: str, value: Tensor) -> Tensor:
        name = f"layers.{layer}.{site}.output.ssf"
        return value * state[f"{name}.scale"] + state[f"{name}.shift"]

    def mapped(layer: int, site: str, value: Tensor) -> Tensor:
        weight, bias = (backbone.tensor(layer, site, kind) for kind in ("weight", "bias"))
        if site.startswith("norm"):
            return after(layer, site, F.layer_norm(value, (WIDTH,), weight, bias, backbone.shape.norm_eps))
        return after(layer, site, F.linear(value, weight, bias))

    def split(value: Tensor) -> Tensor:
        return value.view(len(value), -1, 4, 8).transpose(1, 2)

    embeddings = backbone.model.embeddings
    patches = after(0, "embedding", embeddings.patch_embeddings(features))
    special = torch.cat([embeddings.cls_token, embeddings.distillation_token], dim=1).expand(len(features), -1, -1)
    x = torch.cat([special, patches], dim=1) + positions_for(backbone.model, (features.shape[1] - 16) // 10 + 1)
    for layer in range(backbone.shape.depth):
        normed = mapped(layer, "norm_mhsa", x)
        q, k, v = (split(mapped(layer, site, normed)) for site in "qkv")
        heads = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + mapped(layer, "o", heads)
        hidden = F.gelu(mapped(layer, "fc1", mapped(layer, "norm_ffn", x)))
        x = x + mapped(layer, "fc2", hidden)
    # A scale and a shift of what the last LayerNorm gives are a LayerNorm with other weights: the head's.
    scale, shift = 1 + 0.1 * torch.arange(WIDTH), 0.2 * torch.arange(WIDTH)
    gain, offset = (backbone.tensors()[f"norm.{kind}"].detach() for kind in ("weight", "bias"))
    last = F.layer_norm(x, (WIDTH,), gain, offset, backbone.shape.norm_eps) * scale + shift
    with torch.no_grad():
        model.head["head.norm.weight"].copy_(gain * scale)
        model.head["head.norm.bias"].copy_(offset * scale + shift)
        expected = F.linear(last.mean(dim=1), model.head["head.weight"], model.head["head.bias"])
        torch.testing.assert_close(model.logits(features), expected, rtol=1e-4, atol=1e-4)
