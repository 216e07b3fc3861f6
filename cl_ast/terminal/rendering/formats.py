"""Writes results as text for programs: json, jsonl and csv (`cl_ast.tabular`).

JSON says every text as it is, in escapes of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cl_ast.errors import ClAstError
from cl_ast.escaping import escaped_json
from cl_ast.tabular import as_csv as as_csv
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
            **({} if answer.tags is None else {"true": label in answer.tags}),
        }
        for rank, (label, score) in enumerate(answer.labels, 1)
    ]
