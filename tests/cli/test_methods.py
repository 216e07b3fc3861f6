"""`cl-ast methods`: every method, what it trains and what it weighs, without weights."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.plain_words import SENTENCES
from tests.cli.conftest import Answer, Run

# Trainable parameters over ast-base, to the unit: tables of the papers, see docs/methods.md.
PUBLISHED = {
    "lora:qv,r=6": 221_184,
    "lora:q,r=12": 221_184,
    "lora:qk,r=6": 221_184,
    "lora:qkvo,r=3": 221_184,
    "bottleneck:r=12": 248_976,
    "bottleneck:pfeiffer,ffn,sequential,after": 248_976,
    "bottleneck:houlsby": 497_952,
    "conformer:r=8,k=31": 270_720,
    "conformer:k=8": 268_512,
    "conformer:houlsby": 541_440,
}


def rows(answer: Answer) -> dict[str, dict[str, Any]]:
    return {row["method"]: row for row in answer.fine().json}


def test_every_row_has_the_keys_of_the_contract(cl: Run) -> None:
    found = cl("methods", "--format", "json").fine().json
    assert {"linear", "full", "bottleneck", "conformer", "lora"} <= {row["family"] for row in found}
    for row in found:
        assert list(row) == ["method", "family", "trainable_parameters", "bytes", "source"]
        assert row["source"]


def test_parameters_are_the_published_ones(cl: Run) -> None:
    found = cl("methods", *PUBLISHED, "--format", "json").fine().json
    assert [row["trainable_parameters"] for row in found] == list(PUBLISHED.values())


@pytest.mark.parametrize(("classes", "parameters"), [(10, 9_226), (50, 39_986)])
def test_linear_counts_its_head_given_the_classes(cl: Run, classes: int, parameters: int) -> None:
    (row,) = cl("methods", "linear", "--classes", classes, "--format", "json").fine().json
    assert row["trainable_parameters"] == parameters
    assert row["bytes"] == 4 * parameters


def test_what_a_method_does_is_said_in_plain_words_before_its_literature(cl: Run) -> None:
    out = " ".join(cl("methods", "bottleneck", "prompt+lora").fine().out.split())
    for sentence in ("bottleneck: adds a small network", "houlsby: two in each layer", "lora: adds", "prompt: puts"):
        assert 0 <= out.index(sentence) < out.index("Cappellazzo")
    assert "houlsby: two" not in cl("methods", "lora").fine().out
    assert set(SENTENCES) == set(METHODS)


def test_options_in_any_order_are_the_same_method(cl: Run) -> None:
    one, other = cl(
        "methods", "bottleneck:r=12,parallel,pfeiffer", "bottleneck:pfeiffer,parallel,r=12", "--format", "json"
    ).json
    assert one == other
    assert one["method"].startswith("bottleneck:pfeiffer")


def test_combined_methods_add_up(cl: Run) -> None:
    both, one, other = (
        row["trainable_parameters"]
        for row in cl("methods", "bottleneck:ffn+lora:qv,r=3", "bottleneck:ffn", "lora:qv,r=3", "--format", "json").json
    )
    assert both == one + other


def test_counts_for_another_backbone(cl: Run, backbone: Path) -> None:
    found = rows(cl("methods", "bottleneck:r=2", "lora:q,r=1", "--backbone", backbone, "--format", "json"))
    width, depth = 32, 2
    layer = (width * 2 + 2) + (2 * width + width) + 2 * width
    assert found["bottleneck:pfeiffer,mhsa,parallel,r=2"]["trainable_parameters"] == depth * layer
    assert found["lora:q,r=1,s=8"]["trainable_parameters"] == depth * 2 * width


def test_counts_are_what_learning_really_trains(cl: Run, backbone: Path) -> None:
    learned = {task["name"]: task for task in cl("tasks", "--format", "json").json}
    listed = cl("methods", "linear", "bottleneck:r=2", "--classes", 2, "--backbone", backbone, "--format", "json").json
    linear, bottleneck = (row["trainable_parameters"] for row in listed)
    assert learned["tones"]["trainable_parameters"] == linear
    assert learned["noises"]["trainable_parameters"] == bottleneck


def test_csv_and_table(cl: Run) -> None:
    as_csv = list(csv.DictReader(io.StringIO(cl("methods", "lora", "--format", "csv").fine().out)))
    assert [(row["family"], row["trainable_parameters"]) for row in as_csv] == [("lora", "221184")]
    assert "221,184" in cl("methods", "lora").fine().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lorra"], ["'lorra'", "did you mean lora?"]),
        (["lora:banana"], ["'banana'", "r=N"]),
        (["lora:r=none"], ["r=none", "whole number"]),
        (["bottleneck:r=0"], ["r=0"]),
        (["linear+lora"], ["linear cannot be combined"]),
        (["lora", "--backbone", "no-such-backbone"], ["no-such-backbone"]),
    ],
)
def test_what_cannot_be_read_is_named(cl: Run, words: list[str], said: list[str]) -> None:
    assert cl("methods", *words).refused(*said).out == ""
