"""Copies the rows of every table from one database to another, whatever kinds they are.

The tables and their columns are those of `models`, so that a new table comes along by itself. Anybody may have written
the rows: what cannot be right is left out, and with it what points at it.
"""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Float, Integer, LargeBinary, String, Table, insert

from registry import row_checks, rows
from registry.database import Database, Reader, Writer
from registry.models import Base, Instant

_AT_ONCE = 500
_WRONG = (ValueError, TypeError, OverflowError, RecursionError)
_OTHER_CURRENT = """
    NOT EXISTS (SELECT 1 FROM versions v WHERE v.id = tasks.current_version_id AND v.task_id = tasks.id)"""


def copy(source: Database, reader: Reader, writer: Writer) -> None:
    """Copy every row into empty tables, from a database whose rows are all right."""
    for table in Base.metadata.sorted_tables:
        for chunk in _chunks(reader, table):
            writer.session.execute(insert(table), chunk)
    writer.raise_ids(_last_ids(source, reader))


def copy_checked(source: Database, reader: Reader, writer: Writer) -> list[str]:
    """Copy every row that can be right into the empty tables of an SQLite database; say in words what was left out.

    Raises CorruptRegistryError where the backbone cannot be read: without it no task can be used.
    """
    rows.backbone(reader)
    found = rows.problems(reader)
    connection = writer.session.connection()
    connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    there = {}
    for table in Base.metadata.sorted_tables:
        there[table.name] = _count(reader, table)
        for chunk in _chunks(reader, table):
            # What breaks a constraint is left out, too.
            writer.session.execute(insert(table).prefix_with("OR IGNORE"), chunk)
    _drop_unreadable(writer)
    writer.raise_ids(_last_ids(source, reader))
    for table in Base.metadata.sorted_tables:
        missing = there[table.name] - _count(writer, table)
        if missing:
            found.append(f"{missing:,} rows of the table {table.name} cannot be right")
    return found


def _last_ids(database: Database, reader: Reader) -> dict[str, int]:
    """Return the highest id that each table of ours ever gave: none is given again, in the copy either."""
    counting = {table.name for table in Base.metadata.sorted_tables if table.dialect_options["sqlite"]["autoincrement"]}
    found = database.last_ids(reader)
    return {name: id for name, id in found.items() if name in counting and row_checks.is_id(id)}


def _chunks(reader: Reader, table: Table) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a table, some hundreds at a time."""
    found = _rows(reader, table)
    while chunk := list(islice(found, _AT_ONCE)):
        yield chunk


def _rows(reader: Reader, table: Table) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table as SQLAlchemy takes them. Times and JSON are read as text, which all databases have."""
    as_text = [isinstance(column.type, JSON | Instant) for column in table.columns]
    words = [f"CAST({c.name} AS TEXT)" if text else c.name for c, text in zip(table.columns, as_text, strict=True)]
    for row in reader.query(f"SELECT {', '.join(words)} FROM {table.name}"):
        try:
            yield {c.name: _checked(c, value) for c, value in zip(table.columns, row, strict=True)}
        except _WRONG:
            continue  # the numbers of rows are compared afterwards


def _checked(column: Column[Any], value: Any) -> Any:
    """Return a value as the column's type has it. Raises ValueError, TypeError or another of `_WRONG`."""
    if value is None and column.nullable:
        return None
    match column.type:
        case JSON():
            found = row_checks.parsed(value)
            if column.name == "routed":
                row_checks.counts(value)
            return found
        case Instant():
            return row_checks.instant(value)
        case Boolean() if value in (False, True):
            return bool(value)
        case Integer() if type(value) is int and -(2**63) <= value < 2**63:
            if (column.primary_key or column.foreign_keys) and not row_checks.is_id(value):
                raise ValueError("it is no id")
            return value
        case Float() if isinstance(value, int | float) and math.isfinite(value):
            return float(value)
        case String() if isinstance(value, str) and "\0" not in value:
            value.encode()  # raises ValueError for half characters
            return value
        case LargeBinary() if isinstance(value, bytes):
            return value
    raise ValueError(f"{value!r:.40} does not belong into {column.name}")


def _drop_unreadable(writer: Writer) -> None:
    """Delete the versions and tasks that every list leaves out, and all rows that point at something deleted."""
    connection = writer.session.connection()
    readable = {version.id for version in rows.versions(writer)}
    for (id,) in writer.query("SELECT id FROM versions"):
        if id not in readable:
            connection.exec_driver_sql("DELETE FROM versions WHERE id = ?", (id,))
    changed = True
    while changed:
        changed = bool(connection.exec_driver_sql(f"DELETE FROM tasks WHERE {_OTHER_CURRENT}").rowcount)
        for table in Base.metadata.sorted_tables:
            for key in table.foreign_keys:
                column, target = key.parent, key.column
                act = (
                    f"UPDATE {table.name} SET {column.name} = NULL" if column.nullable else f"DELETE FROM {table.name}"
                )
                lost = f"{column.name} IS NOT NULL AND {column.name} NOT IN (SELECT {target.name} FROM {target.table})"
                changed |= bool(connection.exec_driver_sql(f"{act} WHERE {lost}").rowcount)


def _count(reader: Reader, table: Table) -> int:
    return next(int(row[0]) for row in reader.query(f"SELECT count(*) FROM {table.name}"))
