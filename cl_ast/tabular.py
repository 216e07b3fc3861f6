"""Writes rows as CSV, with all text escaped (`cl_ast.escaping`), so that no label makes a row or a column."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from cl_ast.escaping import escaped


def as_csv(rows: Sequence[Mapping[str, Any]], *, header: bool = True) -> str:
    """Return a header and one line for each row, with all text escaped; an empty text if there are no rows."""
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
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
