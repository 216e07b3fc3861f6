"""The last change of a registry's tasks: what it was, in words, and what takes it back.

It stands in the database beside the rows that it changed, and was committed with them. Anybody may have written it: it
is checked as everything else there, and where it cannot be, only `undo` fails.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import row_checks, rows
from registry.database import Reader, Writer
from registry.deltas import Delta, TooManyRowsError
from registry.records import LastChange
from registry.version_facts import is_sha256

_LARGEST = 16 * 2**20  # characters of JSON: some 10,000 versions
_MOST_FILES = 20_000
_LONGEST_WORDS = 1_000
_WRONG = (ValueError, TypeError, KeyError, OverflowError, RecursionError, AttributeError, RegistryError)


@dataclass(frozen=True, slots=True)
class Undoing:
    """What takes a change back.

    Attributes:
        back: the files that the change dropped, by SHA-256.
        away: the files that it made, which nothing needs once it is taken back.
        delta: what to do with the rows; None where that was too much to keep.
    """

    back: Sequence[str]
    away: Sequence[str]
    delta: Delta | None


def captured(read: Callable[[], Delta]) -> Delta | None:
    """Return what takes a change back; None where that is too much to keep, or where a row cannot be read."""
    try:
        return read()
    except (TooManyRowsError, *_WRONG):
        return None


def note(writer: Writer, kind: str, what: str, undoing: Undoing) -> bool:
    """Replace the last change, in the transaction that makes it. Returns whether it can be taken back.

    Args:
        kind, what: as LastChange has them.
    """
    from sqlalchemy import delete

    from registry.models import LastChangeRow

    text = _text(undoing)
    undoable = text is not None and undoing.delta is not None
    if text is None:
        text = _text(Undoing(undoing.back[:_MOST_FILES], undoing.away[:_MOST_FILES], None)) or "{}"
    writer.session.execute(delete(LastChangeRow))
    row = {"id": rows.ONE_ROW, "kind": kind, "what": what[:_LONGEST_WORDS], "created": datetime.now(UTC)}
    writer.session.add(LastChangeRow(**row, undo=text))
    writer.session.flush()
    return undoable


def read(reader: Reader) -> LastChange | None:
    """Return the last change; None where there was none. Raises CorruptRegistryError for a row that cannot be right."""
    for kind, what, created in reader.query("SELECT kind, what, CAST(created AS TEXT) FROM last_change"):
        try:
            words = "".join(letter if letter.isprintable() else "\ufffd" for letter in what[:_LONGEST_WORDS])
            return LastChange(str(kind)[:20], words, row_checks.instant(created))
        except _WRONG as error:
            raise _unusable() from error
    return None


def undoing(reader: Reader) -> Undoing:
    """Return what takes the last change back. Raises CorruptRegistryError for what cannot be."""
    for (text,) in reader.query("SELECT undo FROM last_change"):
        try:
            words = _parsed(text)
            delta = None if words["delta"] is None else Delta.from_json(words["delta"])
            back, away = ([row_checks.require_sha256(one) for one in words[key]] for key in ("back", "away"))
            return Undoing(back, away, delta)
        except _WRONG as error:
            raise _unusable() from error
    raise _unusable()


def dropped_files(reader: Reader) -> frozenset[str]:
    """Return the files that the last change dropped, by SHA-256: those still in place were left by a crash."""
    for (text,) in reader.query("SELECT undo FROM last_change"):
        try:
            return frozenset(one for one in _parsed(text)["back"] if is_sha256(one))
        except _WRONG:
            break
    return frozenset()


def _text(undoing: Undoing) -> str | None:
    try:
        delta = None if undoing.delta is None else undoing.delta.to_json()
        text = json.dumps({"delta": delta, "back": list(undoing.back), "away": list(undoing.away)}, allow_nan=False)
    except (ValueError, TypeError, RecursionError):  # bytes in a row that somebody else wrote
        return None
    return text if len(text) <= _LARGEST else None


def _parsed(text: Any) -> dict[str, Any]:
    if not isinstance(text, str) or len(text) > _LARGEST:
        raise ValueError("it is too long")
    found = row_checks.parsed(text)
    if not isinstance(found, dict):
        raise ValueError("it is no object")
    return found


def _unusable() -> CorruptRegistryError:
    return CorruptRegistryError("the last change cannot be taken back: what the database says of it cannot be right")
