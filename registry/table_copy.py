"""Copies the tables of a registry on a server into an SQLite file, row by row, with the ids that they have."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import JSON, Column, Table, insert

from cl_ast.errors import CorruptRegistryError
from registry import row_checks
from registry.database import Reader, Writer
from registry.models import Base, Instant


def copy_tables(reader: Reader, writer: Writer, last_ids: Mapping[str, int]) -> None:
    """Insert every row of every table into the empty tables of an SQLite file.

    Args:
        reader: of the registry to copy, in one transaction.
        writer: of the new file.
        last_ids: the last id that each table gave, so that the copy gives none of them again.

    Raises:
        CorruptRegistryError: a row cannot be read.
    """
    connection = writer.session.connection()
    connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")  # tasks and versions point at each other
    for table in Base.metadata.sorted_tables:
        values = _rows(reader, table)
        if values:
            connection.execute(insert(table), values)
    for name, id in last_ids.items():
        connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
        connection.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, id))


def _rows(reader: Reader, table: Table) -> list[dict[str, Any]]:
    columns = list(table.columns)
    selected = ", ".join(_selected(column) for column in columns)
    try:
        return [
            {column.name: _reading(column)(value) for column, value in zip(columns, row, strict=True)}
            for row in reader.query(f"SELECT {selected} FROM {table.name}")
        ]
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptRegistryError(
            f"a row of {table.name} cannot be copied ({str(error)[:200]}): `cl-ast verify` says more"
        ) from error


def _selected(column: Column[Any]) -> str:
    """Return how a column is selected: times and JSON as text, which the driver would turn into something else."""
    is_text = isinstance(column.type, Instant | JSON)
    return f"CAST({column.name} AS TEXT)" if is_text else column.name


def _reading(column: Column[Any]) -> Callable[[Any], Any]:
    if isinstance(column.type, Instant):
        return _instant
    return _json if isinstance(column.type, JSON) else _same


def _instant(value: Any) -> Any:
    return None if value is None else row_checks.instant(value)


def _json(value: Any) -> Any:
    return None if value is None else json.loads(value)


def _same(value: Any) -> Any:
    return value
