"""Results as text for machines: json, jsonl, csv, and Audacity's label track."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cl_ast.inference.prediction import Prediction


_MOST_INDENTED = 1_000


def as_json(value: Any) -> str:
    """Indented, with every letter as it is; very long lists with an entry a line, as indenting is slow."""
    if isinstance(value, list) and len(value) > _MOST_INDENTED:
        line = json.JSONEncoder(ensure_ascii=False).encode
        return "[\n" + ",\n".join(map(line, value)) + "\n]"
    return json.dumps(value, indent=2, ensure_ascii=False)


def as_csv(rows: Sequence[Mapping[str, Any]], *, header: bool = True) -> str:
    """A header and a line a row; nothing for no rows."""
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().rstrip("\n")


def as_line(answer: Prediction) -> str:
    """One prediction as a line of JSON."""
    return json.dumps(answer.to_json(), ensure_ascii=False)


def predictions(answers: Iterable[Prediction], kind: str) -> str:
    """Predictions as json, csv (a line a label) or audacity (start, end, best label)."""
    found = list(answers)
    if kind == "json":
        return as_json([answer.to_json() for answer in found])
    if kind == "csv":
        return as_csv([row for answer in found for row in _rows(answer)])
    return "\n".join(_audacity(answer) for answer in found)


def _rows(answer: Prediction) -> list[dict[str, Any]]:
    span = {} if answer.start is None else {"start": answer.start, "end": answer.end}
    return [
        {
            "path": answer.path,
            **span,
            "task": answer.task,
            "task_score": answer.task_score,
            "known": answer.known,
            "rank": rank,
            "label": label,
            "score": score,
        }
        for rank, (label, score) in enumerate(answer.labels, 1)
    ]


def _audacity(answer: Prediction) -> str:
    name = f"{answer.task}: {answer.labels[0][0]}" if answer.known else "unknown"
    return f"{answer.start or 0:.6f}\t{answer.end or 0:.6f}\t{name}"
