"""Text that is safe to show: nothing in it acts on a terminal, ordinary text stays, no two texts become the same."""

import json
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cl_ast.escaping import (
    escaped,
    escaped_json,
    escaped_line,
    escaped_lines,
    refused_in_label,
    refused_in_name,
)

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
TEXT = st.text(st.characters(exclude_categories=[]) | st.sampled_from("\\x1buU0123456789abcdef\u202e\u200b\n\t\udce9"))
ORDINARY = [
    "",
    "dog",
    "größer",
    "e\u0301",
    "日本語",
    "मोर",
    "كلب",
    "🐕 ❤️",
    "C:\\new\\table\\x",
    "[bold]",
    "a b",
    "=1+1",
]


def hidden(text: str, but: str = "") -> list[str]:
    return [one for one in text if unicodedata.category(one) in HIDDEN and one not in but]


def back(text: str) -> str:
    """Read the escapes again."""
    return re.sub(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})", lambda m: chr(int(m[0][2:], 16)), text)


@given(TEXT)
@example("\\\x1b")
@example("\\x1b")
@example("\\\\x1b\x1b")
@example("\\x5c")
def test_nothing_is_hidden_and_the_text_can_be_read_back(text: str) -> None:
    shown = escaped(text)
    assert not hidden(shown)
    assert back(shown) == text  # so no two texts become the same
    assert not hidden(escaped_line(text)) and not hidden(escaped_lines(text), but="\n\t")


@given(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters="\\")))
def test_ordinary_text_stays(text: str) -> None:
    assert escaped(text) == escaped_line(text) == escaped_lines(text) == text


@pytest.mark.parametrize("text", ORDINARY)
def test_letters_of_every_script_stay(text: str) -> None:
    assert escaped(text) == text and refused_in_label(text) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]52;c;eA==\x07", "\\x1b]52;c;eA==\\x07"),
        ("a\nb\tc\rd\0", "a\\x0ab\\x09c\\x0dd\\x00"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("gpj.\u202egod", "gpj.\\u202egod"),
        ("a\u200bb\u200d\ufeff\u2028", "a\\u200bb\\u200d\\ufeff\\u2028"),
        ("caf\udce9", "caf\\udce9"),
        ("\ue000\U000e0061\U0010ffff", "\\ue000\\U000e0061\\U0010ffff"),
        ("\\x1b", "\\x5cx1b"),
    ],
)
def test_what_is_hidden_is_shown(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_a_text_of_lines_keeps_them() -> None:
    assert escaped_lines("a\tb\n\x1b[2J\r\n\\x1b") == "a\tb\n\\x1b[2J\\x0d\n\\x1b"
    assert escaped_line("'\\x1b' and\n\x1b") == "'\\x1b' and\\x0a\\x1b"


@pytest.mark.slow
@given(
    st.recursive(TEXT | st.integers(), lambda inside: st.lists(inside) | st.dictionaries(TEXT, inside), max_leaves=8)
)
def test_json_says_the_same_and_hides_nothing(value: object) -> None:
    for indent in (None, 2):
        document = escaped_json(json.dumps(value, indent=indent, ensure_ascii=False))
        assert not hidden(document, but="\n")
        assert json.loads(document) == json.loads(json.dumps(value))


@given(TEXT)
def test_what_a_new_label_or_name_may_not_have(text: str) -> None:
    found = [one for one in text if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
    assert refused_in_label(text) == (escaped(found[0]) if found else None)
    if found:
        assert refused_in_name(text) == escaped(found[0])


@pytest.mark.parametrize("blank", "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180f\u2800\u3164\ufe00\ufe0f\uffa0\U000e0100")
def test_a_name_has_no_blank_letters(blank: str) -> None:
    assert refused_in_name(f"a{blank}b") == blank.encode("ascii", "backslashreplace").decode()
    assert refused_in_label(f"a{blank}b") is None  # in labels, such as the sign after an emoji, it does no harm
