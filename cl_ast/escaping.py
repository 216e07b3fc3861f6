r"""Escapes text that comes from anywhere, so that showing it does nothing but show it.

A label, a task's name, a file's name or a package's version may hold characters that move a terminal's cursor, write
its clipboard, reverse the letters after them, or take no room at all. Each becomes a visible escape as Python writes
it, such as `\x1b` or `\u202e`. Letters of every script, accents and emoji stay as they are; only an emoji that several
are joined into by an invisible character shows that character, too. The command line escapes whatever it prints
(`cl_ast.terminal.output`), and names and labels with such characters are refused when they are new.
"""

import re
import unicodedata

_NOT_SHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of what is escaped: control, format, half a character, private, unassigned, line separators."""
_REFUSED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Those of them that no name and no label may have. An unassigned character may be a letter of a newer Unicode."""
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters, marks and symbols of other categories that are blank: a name with one would list like the name without."""
_SUSPECT = re.compile(r"[^ -~]")
_SUSPECT_IN_LINES = re.compile(r"[^\n\t -~]")
_SUSPECT_IN_JSON = re.compile(r"[^\n -~]")
_LIKE_AN_ESCAPE = re.compile(r"\\(?=x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


def escaped(value: str) -> str:
    r"""Return a name, a label, a path or another value in one line, with every character that is not shown escaped.

    No two values become the same: a backslash that begins what looks like an escape already becomes `\x5c`.
    """
    if is_plain(value):  # the usual case, and quick
        return value
    return escaped_line(_LIKE_AN_ESCAPE.sub(r"\\x5c", value))


def is_plain(value: str) -> bool:
    """Return whether a text, or several of them joined, needs no escape."""
    return value.isprintable() and "\\" not in value


def escaped_line(sentence: str) -> str:
    """Return a sentence in one line, with every character that is not shown escaped. Its backslashes stay."""
    if sentence.isprintable():
        return sentence
    return _SUSPECT.sub(_escape, sentence)


def escaped_lines(text: str) -> str:
    """Return a text with its line ends and tabs, and every other character that is not shown escaped."""
    if text.replace("\n", "").isprintable():  # quick, for a long table too
        return text
    return _SUSPECT_IN_LINES.sub(_escape, text)


def escaped_json(document: str) -> str:
    r"""Return a JSON document with every character that is not shown as JSON's own `\u…`: it says the same."""
    return _SUSPECT_IN_JSON.sub(_json_escape, document)


def refused_in_label(label: str) -> str | None:
    """Return, escaped, the first control or format character of a label; None where it has none."""
    if label.isprintable():
        return None
    return next((_backslashed(one) for one in label if unicodedata.category(one) in _REFUSED), None)


def refused_in_name(name: str) -> str | None:
    """Return, escaped, the first character of a name that is a control or format character, or blank; None if none."""
    if name.isascii() and name.isprintable():
        return None
    blank = _INVISIBLE.search(name)
    return refused_in_label(name) or (_backslashed(blank[0]) if blank else None)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return _backslashed(character) if unicodedata.category(character) in _NOT_SHOWN else character


def _json_escape(match: re.Match[str]) -> str:
    character = match[0]
    if unicodedata.category(character) not in _NOT_SHOWN:
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def _backslashed(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
