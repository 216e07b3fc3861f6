"""Rows to put back and rows to take away: what `undo` does with the database, as JSON that anybody may have written.

Applying a delta returns the one that takes it back again.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from registry import names, row_checks, shared_parts
from registry.database import Writer
from registry.records import MODES
from registry.version_facts import RULES

if TYPE_CHECKING:
    from sqlalchemy import Table

TABLES = ("shared_parts", "tasks", "versions", "measurements", "accuracies")
"""In the order in which rows can be inserted; each row points at rows of earlier tables only, or is checked later."""
MOST_ROWS = 50_000
_AT_ONCE = 500
Row = dict[str, Any]


class TooManyRowsError(Exception):
    """There are more rows than a delta may have."""


@dataclass(frozen=True, slots=True)
class Delta:
    """What to do with the rows of each table.

    Attributes:
        put: rows to insert, or to put in the place of those with the same ids.
        drop: ids of rows to delete, with all that depends on them.
    """

    put: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    drop: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        put = {name: [_encoded(row) for row in rows] for name, rows in self.put.items() if rows}
        return {"put": put, "drop": {name: list(ids) for name, ids in self.drop.items() if ids}}

    @classmethod
    def from_json(cls, words: Any) -> "Delta":
        """Read what anybody may have written. Raises ValueError or TypeError for what cannot be."""
        put, drop = words["put"], words["drop"]
        if set(words) != {"put", "drop"} or not set(put) <= set(TABLES) or not set(drop) <= set(TABLES[:-1]):
            raise ValueError("it names other tables")
        if sum(map(len, (*put.values(), *drop.values()))) > MOST_ROWS:
            raise ValueError("it has too many rows")
        ids = {name: [_checked_id(one) for one in given] for name, given in drop.items()}
        return cls({name: [_decoded(name, row) for row in rows] for name, rows in put.items()}, ids)


def rows(writer: Writer, table: str, ids: Iterable[int], column: str = "id") -> list[Row]:
    """Return rows as they are now, by their ids or by another column. Raises TooManyRowsError, CorruptRegistryError."""
    from sqlalchemy import select

    source, wanted, found = _table(table), sorted(set(ids)), list[Row]()
    for start in range(0, len(wanted), _AT_ONCE):
        chosen = source.c[column].in_(wanted[start : start + _AT_ONCE])
        with row_checks.of_one_row():  # SQLAlchemy raises what it likes for a value that somebody else wrote
            found += [dict(row) for row in writer.session.execute(select(source).where(chosen)).mappings()]
        if len(found) > MOST_ROWS:
            raise TooManyRowsError
    return found


def before_dropping(writer: Writer, drop: Mapping[str, Iterable[int]]) -> dict[str, list[Row]]:
    """Return every row that would go or change with these, as it is now. Raises TooManyRowsError."""
    tasks, measured = list(drop.get("tasks", ())), list(drop.get("measurements", ()))
    versions = rows(writer, "versions", drop.get("versions", ())) + rows(writer, "versions", tasks, "task_id")
    ids = [row["id"] for row in versions]
    found = {
        "shared_parts": rows(writer, "shared_parts", drop.get("shared_parts", ())),
        "tasks": rows(writer, "tasks", tasks),
        "versions": versions,
        "measurements": rows(writer, "measurements", measured) + rows(writer, "measurements", ids, "after_version_id"),
        "accuracies": rows(writer, "accuracies", measured, "measurement_id")
        + rows(writer, "accuracies", ids, "version_id"),
    }
    return {name: list({row["id"]: row for row in some}.values()) for name, some in found.items()}


def apply(writer: Writer, delta: Delta) -> Delta:
    """Do it, and return what takes it back. Raises TooManyRowsError."""
    from sqlalchemy import delete, insert, update

    before = before_dropping(writer, delta.drop)
    made: dict[str, list[int]] = {}
    for name in TABLES:
        table, wanted = _table(name), delta.put.get(name, ())
        known = {row["id"]: row for row in rows(writer, name, [row["id"] for row in wanted])}
        fresh = [row for row in wanted if row["id"] not in known]
        if fresh:
            writer.session.execute(insert(table), fresh)
        for row in wanted:
            if row["id"] in known:
                values = {key: value for key, value in row.items() if key != "id"}
                if name == "tasks":  # no number of a version is ever given twice
                    values["last_number"] = max(row["last_number"], known[row["id"]]["last_number"])
                writer.session.execute(update(table).where(table.c.id == row["id"]).values(values))
        before[name] = list({row["id"]: row for row in [*before[name], *known.values()]}.values())
        made[name] = [row["id"] for row in fresh]
    for name in reversed(TABLES[:-1]):
        ids = list(delta.drop.get(name, ()))
        for start in range(0, len(ids), _AT_ONCE):
            table = _table(name)
            writer.session.execute(delete(table).where(table.c.id.in_(ids[start : start + _AT_ONCE])))
    writer.session.expire_all()
    return Delta(before, {name: ids for name, ids in made.items() if name != "accuracies"})


def _table(name: str) -> "Table":
    from registry.models import Base

    return Base.metadata.tables[name]


def _encoded(row: Row) -> Row:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()}


def _checked_id(value: Any) -> int:
    if not row_checks.is_id(value):
        raise ValueError(f"{value!r:.40} is no id")
    return int(value)


def _id_or_none(value: Any) -> int | None:
    return None if value is None else _checked_id(value)


def _instant(value: Any) -> datetime:
    moment = row_checks.check_time(datetime.fromisoformat(value))
    if moment.tzinfo is None:
        raise ValueError("a time has no zone")
    return moment


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise ValueError(f"{value!r:.40} is no count")
    return value


def _fraction(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ValueError(f"{value!r:.40} is no fraction")
    return float(value)


def _one_of(*allowed: Any) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value not in allowed or type(value) is not type(allowed[0]):
            raise ValueError(f"{value!r:.40} cannot be")
        return value

    return check


def _counts(value: Any) -> dict[str, int]:
    return row_checks.counts(json.dumps(value))


_CHECKS: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    "shared_parts": {
        "id": _checked_id, "name": names.checked_stored, "key": str, "method": shared_parts.check_method,
        "tasks": shared_parts.check_tasks, "sha256": row_checks.require_sha256, "bytes": row_checks.require_size,
        "created": _instant,
    },
    "tasks": {
        "id": _checked_id, "name": names.checked, "key": str, "created": _instant, "last_number": _checked_id,
        "current_version_id": _checked_id,
    },
    "versions": {
        "id": _checked_id, "task_id": _checked_id, "number": _checked_id, "backbone_id": _one_of(1),
        "adapter_sha256": row_checks.require_sha256, "adapter_bytes": row_checks.require_size, "created": _instant,
        **{name: rule.check for name, rule in RULES.items()},
    },
    "measurements": {"id": _checked_id, "after_version_id": _id_or_none, "created": _instant},
    "accuracies": {
        "id": _checked_id, "measurement_id": _checked_id, "version_id": _checked_id, "mode": _one_of(*MODES),
        "accuracy": _fraction, "clips": _size, "routed": _counts,
    },
}  # fmt: skip


def _decoded(table: str, row: Any) -> Row:
    checks = _CHECKS[table]
    if not isinstance(row, dict) or set(row) != set(checks):
        raise ValueError(f"a row of {table} has other columns")
    found = {name: check(row[name]) for name, check in checks.items()}
    if table in ("shared_parts", "tasks") and found["key"] != names.key(found["name"]):
        raise ValueError("a key does not belong to its name")
    return found
