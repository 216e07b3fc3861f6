"""A method in one word: what it means, what it costs to the unit, and what is refused."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cl_ast.adapters.forms import Bottleneck, Conformer, LowRank
from cl_ast.adapters.listing import LISTED, SHOWN, rows
from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.papers import IN_PAPERS
from cl_ast.adapters.spec import cost, parse
from cl_ast.backbone.sites import AST_BASE, Shape
from cl_ast.errors import MethodError

BASE = 86_187_264  # parameters of AST-base

# docs/methods.md and the papers' tables: AST-base, without the head.
PARAMETERS = {
    "lora": 221_184,
    "lora:qv,r=6": 221_184,
    "lora:q,r=12": 221_184,
    "lora:qk,r=6": 221_184,
    "lora:qkvo,r=3": 221_184,
    "bottleneck": 248_976,
    "bottleneck:pfeiffer,ffn": 248_976,
    "bottleneck:sequential": 248_976,
    "bottleneck:sequential,before": 248_976,
    "bottleneck:houlsby": 497_952,
    "conformer": 270_720,
    "conformer:pfeiffer,ffn,r=8,k=31": 270_720,
    "conformer:houlsby": 541_440,
    "conformer:k=8": 268_512,
    "full": BASE,
}


@pytest.mark.parametrize(("text", "parameters"), PARAMETERS.items())
def test_parameters_are_the_papers_to_the_unit(text: str, parameters: int) -> None:
    assert cost(parse(text), AST_BASE, backbone_parameters=BASE).trainable_parameters == parameters
    # A head is not counted, except where there is nothing else.
    assert cost(parse(text), AST_BASE, classes=50, backbone_parameters=BASE).trainable_parameters == parameters


@pytest.mark.parametrize(("classes", "parameters"), [(10, 9_226), (50, 39_986)])
def test_a_linear_probe_is_its_head(classes: int, parameters: int) -> None:
    assert cost(parse("linear"), AST_BASE, classes=classes).trainable_parameters == parameters
    assert cost(parse("linear"), AST_BASE).trainable_parameters == 0


def test_bytes_are_of_all_that_is_stored() -> None:
    head = 768 * 10 + 10 + 1536
    running = 2 * 8 * 12  # BatchNorm's statistics are stored, not trained
    assert cost(parse("conformer"), AST_BASE, classes=10).bytes == 4 * (270_720 + running + head)
    assert cost(parse("lora"), AST_BASE).bytes == 4 * 221_184
    wider = cost(parse("lora"), AST_BASE, classes=10, pooling="mean+std").bytes
    assert wider - cost(parse("lora"), AST_BASE, classes=10).bytes == 4 * 768 * 10


def test_lora_on_the_ffn_knows_its_widths() -> None:
    assert cost(parse("lora:ffn,r=4"), AST_BASE).trainable_parameters == 2 * 4 * (768 + 3072) * 12
    assert cost(parse("lora:ffn,r=1"), Shape(8, 2, 20)).trainable_parameters == 2 * (8 + 20) * 2


def test_defaults_are_the_papers() -> None:
    assert parse("bottleneck").text == "bottleneck:pfeiffer,mhsa,parallel,r=12"
    assert parse("conformer").text == "conformer:pfeiffer,mhsa,parallel,r=8,k=31"
    assert parse("lora").text == "lora:qv,r=6,s=8"
    assert [p.form for p in parse("lora").placements] == [LowRank(6, 8.0)] * 2
    assert Bottleneck(12) in [p.form for p in parse("bottleneck").placements]
    assert Conformer(8, 31) in [p.form for p in parse("conformer").placements]
    rates = {name: parse(name).learning_rate for name in METHODS}
    named = {"linear": 1e-3, "full": 5e-5, "ltsft": 5e-5, "prompt": 1e-2, "prefix": 1e-2, "prefix-adapter": 1e-2}
    assert rates == {name: named.get(name, 5e-3) for name in METHODS}


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("bottleneck", {("mhsa", "parallel")}),
        ("bottleneck:ffn", {("ffn", "parallel")}),
        ("bottleneck:houlsby", {("mhsa", "parallel"), ("ffn", "parallel")}),
        ("bottleneck:sequential", {("mhsa", "after")}),
        ("bottleneck:sequential,before", {("mhsa", "input"), ("mhsa", "parallel")}),
        ("bottleneck:sequential,before,noresidual", {("mhsa", "input")}),
        ("bottleneck:sequential,before,skip", {("mhsa", "before")}),
        ("bottleneck:after", {("mhsa", "after")}),
        ("conformer:houlsby,sequential", {("mhsa", "after"), ("ffn", "after")}),
        ("lora:vo", {("v", "parallel"), ("o", "parallel")}),
        ("lora:ffn", {("fc1", "parallel"), ("fc2", "parallel")}),
        ("linear", set()),
    ],
)
def test_a_method_is_its_placements(text: str, places: set[tuple[str, str]]) -> None:
    placements = parse(text).placements
    assert {(p.site, p.insertion) for p in placements if p.insertion != "replace"} == places
    # The LayerNorm of each block that holds an adapter is trained beside it; LoRA's is not.
    blocks = {site for site, _ in places if site in ("mhsa", "ffn")}
    assert {p.site for p in placements if p.insertion == "replace"} == {f"norm_{block}" for block in blocks}


# Text

Words = st.SearchStrategy[list[str]]

block = st.one_of(st.just(["houlsby"]), st.sampled_from([[], ["mhsa"], ["ffn"], ["pfeiffer"], ["pfeiffer", "ffn"]]))
insertion = st.tuples(
    st.sampled_from([[], ["parallel"], ["sequential"]]), st.sampled_from([[], ["before"], ["after"]])
).map(lambda pair: pair[0] + pair[1])
rank: Words = st.one_of(st.just([]), st.integers(1, 4096).map(lambda r: [f"r={r}"]))
lowest: Words = st.one_of(st.just([]), st.integers(0, 11).map(lambda layer: [f"from={layer}"]))
scale: Words = st.one_of(st.just([]), st.floats(0, 1e4).map(lambda s: [f"s={s!r}"]))
kernel: Words = st.one_of(st.just([]), st.integers(1, 255).map(lambda k: [f"k={k}"]))
letters = st.tuples(st.permutations("qkvo"), st.integers(1, 4)).map(lambda drawn: ["".join(drawn[0][: drawn[1]])])
sites = st.one_of(st.sampled_from([[], ["ffn"]]), letters)


def _words(name: str, *parts: Words) -> st.SearchStrategy[tuple[str, list[str]]]:
    return st.tuples(*parts).map(lambda lists: (name, [word for words in lists for word in words]))


written = st.one_of(
    _words("bottleneck", block, insertion, rank, lowest),
    _words("conformer", block, insertion, rank, kernel, lowest),
    _words("lora", sites, rank, scale, lowest),
    st.sampled_from([("linear", list[str]()), ("full", list[str]())]),
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True)
@given(written, st.randoms(use_true_random=False))
def test_the_canonical_text_means_the_same_and_does_not_depend_on_the_order(
    row: tuple[str, list[str]], shuffle: random.Random
) -> None:
    name, words = row
    spec = parse(f"{name}:{','.join(words)}" if words else name)
    assert parse(spec.text) == spec
    mixed = words[:]
    shuffle.shuffle(mixed)
    assert parse(f" {name.upper()}: {' , '.join(mixed)} ") == spec


def test_a_scale_keeps_every_digit() -> None:
    """The text is what a stored task is rebuilt from: a rounded scale would be another task."""
    spec = parse("lora:s=1.23456789")
    assert parse(spec.text).placements == spec.placements == parse("lora:s=1.23456789").placements
    assert spec.placements[0].form == LowRank(6, 1.23456789)


def test_adapters_are_combined_with_plus() -> None:
    both = parse("bottleneck:ffn + lora:qv,r=3")
    assert both.text == "bottleneck:pfeiffer,ffn,parallel,r=12+lora:qv,r=3,s=8"
    assert both.family == "bottleneck+lora"
    assert {p.site for p in both.placements} == {"norm_ffn", "ffn", "q", "v"}
    parts = [cost(parse(text), AST_BASE).trainable_parameters for text in ("bottleneck:ffn", "lora:qv,r=3")]
    assert cost(both, AST_BASE).trainable_parameters == sum(parts)


def test_two_adapters_at_one_block_share_its_norm() -> None:
    both = cost(parse("bottleneck+conformer"), AST_BASE).trainable_parameters
    assert both == PARAMETERS["bottleneck"] + PARAMETERS["conformer"] - 2 * 768 * 12


@pytest.mark.parametrize("name", [name for name, row in METHODS.items() if row.trains == "adapter"])
def test_every_adapter_may_start_above_a_layer_and_costs_what_its_layers_cost(name: str) -> None:
    whole, top, none = (parse(text) for text in (name, f"{name}:from=8", f"{name}:from=0"))
    assert top.text == whole.text + (",from=8" if ":" in whole.text else ":from=8")
    assert none == whole
    assert parse(name, from_layer=8) == top
    assert (whole.frozen_layers(12), top.frozen_layers(12)) == (0, 8)
    of = {spec: cost(spec, Shape(768, depth, 3072)).trainable_parameters for spec, depth in ((whole, 4), (top, 12))}
    below = 2 * 768 if name == "ssf" else 0  # the patches, which are below every layer
    assert of[top] == of[whole] - below


def test_parts_may_start_at_layers_of_their_own() -> None:
    both = parse("bottleneck:ffn,from=8+lora:qv,from=4")
    assert both.text == "bottleneck:pfeiffer,ffn,parallel,r=12,from=8+lora:qv,r=6,s=8,from=4"
    assert both.frozen_layers(12) == 4
    shared = parse("bottleneck:from=8+conformer:from=4")  # the block's LayerNorm, from the lower of the two on
    assert {one.first for one in shared.placements if one.site == "norm_mhsa"} == {4}
    assert parse("linear").frozen_layers(12) == 12
    assert parse("full").frozen_layers(12) == 0


# What is refused


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["no method", "conformer"]),
        ("botleneck", ["botleneck", "did you mean bottleneck"]),
        ("xyzzy", ["xyzzy", "linear", "lora"]),
        ("lora+", ["no method"]),
        ("lora:r=0", ["r=0", "rank", "1 and 4096"]),
        ("lora:r=-3", ["r=-3", "rank"]),
        ("lora:r=5000", ["r=5000", "4096"]),
        ("lora:r=2.5", ["r=2.5", "whole number"]),
        ("lora:r=", ["r=", "whole number"]),
        ("lora:s=much", ["s=much", "scale", "number"]),
        ("lora:s=nan", ["s=nan", "scale"]),
        ("lora:s=inf", ["s=inf", "scale"]),
        ("lora:s=-1", ["s=-1", "scale"]),
        ("lora:qx", ["qx", "q k v o"]),
        ("lora:qq", ["qq"]),
        ("lora:k=3", ["k=3", "lora"]),
        ("lora:r=3,r=4", ["r=3", "r=4"]),
        ("lora:q,v", ["sites"]),
        ("conformer:k=0", ["k=0", "kernel", "255"]),
        ("conformer:k=256", ["k=256", "255"]),
        ("conformer:pfeiffer,houlsby", ["configuration", "pfeiffer", "houlsby"]),
        ("bottleneck:mhsa,ffn", ["block"]),
        ("bottleneck:parallel,sequential", ["insertion"]),
        ("bottleneck:before,after", ["order"]),
        ("bottleneck:houlsby,ffn", ["houlsby", "ffn"]),
        ("bottleneck:sideways", ["sideways", "parallel|sequential"]),
        ("linear:r=3", ["linear", "r=3", "no options"]),
        ("full:lr=1", ["full", "lr=1"]),
        ("linear:from=3", ["linear", "from=3", "no options"]),
        ("lora:from=-1", ["from=-1", "lowest adapted layer"]),
        ("lora:from=3,from=4", ["from=3", "from=4"]),
        ("lora+lora:from=3", ["lora", "larger r"]),
        ("linear+lora", ["linear", "combined"]),
        ("lora+full", ["full", "combined"]),
        ("lora+lora:r=3", ["lora", "larger r"]),
        ("bottleneck+bottleneck:r=3", ["bottleneck", "mhsa"]),
    ],
)
def test_an_invalid_method_is_one_line_that_names_what_is_wrong(text: str, words: list[str]) -> None:
    with pytest.raises(MethodError) as caught:
        parse(text)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


# The listing


def test_the_listing_shows_every_method_with_its_cost() -> None:
    listed = rows((), AST_BASE, BASE)
    assert len(listed) == len(LISTED)
    assert set(SHOWN) | set(IN_PAPERS) == set(LISTED)
    shallow = [row["method"] for row in rows((), Shape(48, 2, 96), 10**5)]
    assert [row["method"] for row in listed if row["method"] not in shallow] == ["full:top=3"]
    assert {row["family"] for row in listed} >= set(METHODS)
    for row in listed:
        price = cost(parse(row["method"]), AST_BASE, backbone_parameters=BASE)
        assert (row["trainable_parameters"], row["bytes"]) == (price.trainable_parameters, price.bytes)
        assert row["source"]


def test_a_row_of_the_papers_is_named_and_no_two_methods_are_the_same_row() -> None:
    (row,) = rows(["bottleneck:ffn,after"], AST_BASE, BASE)  # another way to write it
    assert row["source"].startswith("PETL table I, PF seq; table III, FFN-Seq/Par-After")
    assert not rows(["bottleneck:r=13"], AST_BASE, BASE)[0]["source"].startswith("PETL table")
    assert len(set(IN_PAPERS.values())) == len(IN_PAPERS) == len({parse(text).text for text in IN_PAPERS})


def test_the_listing_counts_the_head_where_the_classes_are_known() -> None:
    (row,) = rows(["linear"], AST_BASE, BASE, classes=10)
    assert row["trainable_parameters"] == 9_226
    assert row["bytes"] == 4 * 9_226
