"""The sentences of how a task was split name nobody, and those of older releases are exported without their names."""

from collections.abc import Callable
from typing import Any

import pytest

import streams
from streams.protocol import without_names

Make = Callable[..., Any]

ZOE = "Zoë Quux <zoe@quux.example>, 1971-03-04"


@pytest.mark.parametrize(
    "names", [[ZOE, "Ann Other"], [ZOE, "Ann Other", "Bo Third"], [f"{ZOE} {i}" for i in range(9)]]
)
@pytest.mark.parametrize("column", ["speaker", "fold"])
def test_names_are_counted(labelled: Make, rows: Make, names: list[str], column: str) -> None:
    root = labelled(rows(60, **{column: lambda i: names[i // 2 % len(names)]}))
    said = streams.load(root).protocol
    assert not any(word in said for word in ("Zoë", "quux", "1971", "Ann", "Bo", "Other", "Third"))
    assert f"1 {column} tests" in said
    assert without_names(said) == said


def test_numbered_folds_keep_their_numbers(labelled: Make, rows: Make) -> None:
    said = streams.load(labelled(rows(60, fold=lambda i: i // 2 % 4))).protocol
    assert said == without_names(said) == "fold 3 tests, fold 2 validates, folds 0, 1 train"


BY_SPEAKER = "by speaker: each speaker that tests is in no other split"
BY_FOLD = "by fold: each fold that tests is in no other split"
SHARED = "; the data's own split is not used: its parts share speakers"


@pytest.mark.parametrize(
    ("old", "now"),
    [
        (f"by speaker, no speaker is in two splits (seed 3): speaker {ZOE} tests, speakers a, b train", BY_SPEAKER),
        (f"by speaker, none in two splits (seed 3): speakers {ZOE}, b test", BY_SPEAKER),
        ("by speaker, no speaker is in two splits (seed 3): speaker 19710304 tests, 9 speakers train", BY_SPEAKER),
        (f"by speaker: speaker {ZOE} tests, the others train{SHARED}", BY_SPEAKER + SHARED),
        (f"speaker {ZOE} tests, speaker b trains, and 15% of b's clips validate", BY_SPEAKER),
        ("speaker 7 tests, speaker 8 trains, and 15% of 8's clips validate", BY_SPEAKER),
        (f"fold {ZOE} tests, 15% of fold Ann validates (whole speakers, seed 0), the rest of it trains", BY_FOLD),
        ("folds Ann, Bo train; 5 training clips per class (seed 1)", f"{BY_FOLD}; 5 training clips per class (seed 1)"),
        ("fold 1971-03-04 tests, fold 2 validates, fold 3 trains", BY_FOLD),
    ],
)
def test_an_older_sentence_loses_its_names(old: str, now: str) -> None:
    assert without_names(old) == now


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "fold 10 tests, fold 09 validates, folds 01, 02, 03 train; 5 training clips per class (seed 4294967295)",
        "fold 1 tests, 15% of fold 0 validates (balanced by class, seed 12345), the rest of it trains",
        "by speaker, no speaker is in two splits (seed 0): 1200 speakers test, 6 speakers validate, 7 speakers train",
        "the data's own train, validation and test split",
        "a repeatable random split, balanced by class: 70% train, 15% validate, 15% test (seed 0)",
        "a seeded draw, stratified by class: 70% train, 15% validate, 15% test (seed 0)",
    ],
)
def test_a_sentence_without_names_stays(sentence: str) -> None:
    assert without_names(sentence) == sentence
