"""One word for one thing: retired identifiers are not in the code, retired phrases not in messages, help and docs."""

import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("cl_ast", "registry", "streams", "benchmarks")
CODE = [ROOT / "cli.py", *sorted(path for top in FOLDERS for path in (ROOT / top).rglob("*.py"))]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "RESULTS.md"]

# What a stranger stumbled over, and what is said instead (docs/glossary.md).
IDENTIFIERS = {
    "trunk": "backbone",
    "trunks": "backbones",
    "held": "cached, kept",
    "heard": "decoded, sound",
    "hears": "takes",
    "hearing": "decoded clips",
    "asked": "queried, wanted",
    "rival": "runner_up",
    "surer": "more_confident",
    "sureness": "confidence",
    "anew": "again",
}
PHRASES = {
    r"\btrunks?\b": "backbone",
    r"\basked by name\b": "by name",
    r"\bto the bit\b": "exactly (bit-identical)",
    r"\b(learned|learn|learnt) anew\b": "rebuilt, learned again",
    r"\banew\b": "again",
    r"\brivals?\b": "runner-up",
    r"\bsurer\b": "more confident",
    r"\bseeded draw\b": "repeatable random split",
    r"\bnone in two splits\b": "no speaker is in two splits",
    r"\bAnswer clips\b": "Classify recordings",
    r"\bfitting the head\b": "fitting a first classifier (linear probe)",
    r"\blearning the route\b": "learning to recognise this task's clips",
    r"\bcalibrating the route\b": 'setting the limit for "unknown"',
    r"\bbest earlier less last\b": "drop from the best earlier accuracy",
    r"\blet an earlier version answer again\b": "go back to an earlier version",
    r"\bevery other answers as before\b": "other tasks are unaffected",
    r"\btrainings of each method\b": "repeats per method (seeds)",
    r"\bclips a class\b": "clips per class",
    r"\bbytes a task\b": "size per task",
    r"\bat the start of the cosine\b": "initial learning rate",
    r"\bhalf precision where the answers hold\b": "16 bits a number where predictions stay the same",
    r"\bposition table\b": "position embeddings",
    r"\bthe bank\b(?! of filters)": "the mixed batch",
}
FIELD_WORDS = {"held_out"}  # clips that nothing was learned from
# The prefix of a task's own backbone in its file: files that users have are named so.
STORED = {'"trunk."'}


def _tokens(path: Path) -> Iterator[tokenize.TokenInfo]:
    with path.open("rb") as file:
        yield from tokenize.tokenize(file.readline)


ANY_PHRASE = re.compile("|".join(PHRASES), re.IGNORECASE)


def _wrong(text: str) -> list[str]:
    if not ANY_PHRASE.search(text):  # which is nearly always so
        return []
    found = {phrase: re.search(phrase, text, re.IGNORECASE) for phrase in PHRASES}
    return [f"{match[0]!r}, say {PHRASES[phrase]!r}" for phrase, match in found.items() if match]


@pytest.mark.slow
@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_retired_word_is_in_the_code(path: Path) -> None:
    wrong = []
    for token in _tokens(path):
        if token.type == tokenize.NAME:
            plain = re.sub("|".join(FIELD_WORDS), "", token.string)
            words = set(re.findall(r"[a-z]+", re.sub(r"([A-Z])", r"_\1", plain).lower()))
            wrong += [f"line {token.start[0]}: {word}, say {IDENTIFIERS[word]}" for word in words & set(IDENTIFIERS)]
        elif token.type in (tokenize.STRING, tokenize.COMMENT) and token.string not in STORED:
            wrong += [f"line {token.start[0]}: {what}" for what in _wrong(token.string)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_retired_phrase_is_in_the_docs(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    wrong = [f"line {number}: {what}" for number, line in enumerate(lines, 1) for what in _wrong(line)]
    assert not wrong, "\n".join(wrong)


def test_the_search_finds_what_it_looks_for() -> None:
    assert _wrong("the TRUNK is frozen, to the bit") and not _wrong("the backbone is frozen")
