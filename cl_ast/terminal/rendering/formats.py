"""Writes results as text for programs: json, jsonl and csv.

JSON says every text as it is, in escapes of its own. In CSV, values are escaped as everywhere (`cl_ast.escaping`), so
that no label can make a row or a column.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cl_ast.errors import ClAstError
from cl_ast.escaping import escaped, escaped_json
from cl_ast.terminal.encoding import fits

if TYPE_CHECKING:
    from cl_ast.inference.prediction import Prediction


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_MOST_INDENTED = 1_000  # entries of a list; indenting more takes too long


def as_json(value: Any) -> str:
    """Return indented JSON; a very long list has an entry on each line, because indenting it is slow.

    Letters stay as they are where standard output can hold them; else all that is not ASCII is escaped, and so is in
    any case what would act on a terminal. A parser gets every text as it was.
    """
    if isinstance(value, list) and len(value) > _MOST_INDENTED:
        return "[\n" + ",\n".join(map(_encoded, value)) + "\n]"
    return _encoded(value, indent=2)


def _encoded(value: Any, indent: int | None = None) -> str:
    try:
        # With other arguments than its own, `dumps` makes an encoder for each value.
        plain = (
            _ENCODER.encode(value)
            if indent is None
            else json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
        )
    except ValueError as error:
        raise ClAstError("a result is not a number, which JSON cannot hold; --format table shows it") from error
    text = escaped_json(plain)
    return text if fits(text) else escaped_json(json.dumps(value, indent=indent, allow_nan=False))


def as_csv(rows: Sequence[Mapping[str, Any]], *, header: bool = True) -> str:
    """Return a header and one line for each row, with all text escaped; an empty text if there are no rows.

    The columns are those of all rows; a cell that a row lacks is empty.
    """
    if not rows:
        return ""
    out = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return out.getvalue().rstrip("\n")


def _cell(value: Any) -> Any:
    r"""Return a text escaped, and other values as they are.

    A spreadsheet takes a text that begins with one of these signs for a formula. Where one could call a function or a
    program, for which it needs a bracket or a bar, the sign becomes an escape too: `\x3dcmd|' /C calc'!A0`. Labels such
    as `-5 dB` or `+` stay as they are, because scripts compare them.
    """
    if not isinstance(value, str):
        return value
    text = escaped(value)
    formula = text.startswith(("=", "+", "-", "@")) and ("(" in text or "|" in text)
    return f"\\x{ord(text[0]):02x}{text[1:]}" if formula else text


def as_line(answer: Prediction) -> str:
    """Return one prediction as a line of JSON."""
    return _encoded(answer.to_json())


def predictions(answers: Iterable[Prediction], kind: str) -> str:
    """Return predictions as "json" or "csv" (one line for each label)."""
    found = list(answers)
    if kind == "json":
        return as_json([answer.to_json() for answer in found])
    return as_csv([row for answer in found for row in _rows(answer)])


def _rows(answer: Prediction) -> list[dict[str, Any]]:
    span = {} if answer.start is None else {"start": answer.start, "end": answer.end}
    return [
        {
            "path": answer.path,
            **span,
            "task": answer.task,
            "task_score": answer.score_if_known,
            "known": answer.known,
            "p_value": answer.p_value,
            "rank": rank,
            "label": label,
            "score": score,
        }
        for rank, (label, score) in enumerate(answer.labels, 1)
    ]
