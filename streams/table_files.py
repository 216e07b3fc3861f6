"""Reads the tables that come with data (CSV and JSON lines), with errors that name the file and the row.

Messages leave out the folder of the data, because the loader puts it in front of them.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cl_ast.errors import StreamError
from streams.safe_paths import leads_outside


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        place: the file and the number of the row, for messages.
        cells: the stripped text of each cell by the name of its column, which is in lower case.
    """

    place: str
    cells: dict[str, str]

    def need(self, column: str) -> str:
        """Return a cell that must not be empty.

        Raises:
            StreamError: the cell is empty or missing.
        """
        value = self.cells.get(column, "")
        if not value:
            raise StreamError(f"{self.place}: no {column}; fill it in or take the row out")
        return value

    def need_path(self, column: str) -> PurePosixPath:
        """Return a cell as a relative path that stays inside the folder.

        Raises:
            StreamError: the cell is empty, or its path is absolute or leads outside.
        """
        value = self.need(column)
        if leads_outside(value):
            raise StreamError(f"{self.place}: {value!r} leads out of the folder; write a path relative to it")
        return PurePosixPath(value)


def read_rows(path: Path, root: Path, required: Sequence[str] = ()) -> list[Row]:
    """Read all rows of a .csv or .jsonl file in UTF-8. Blank lines and a byte order mark are skipped.

    Args:
        path: the file to read.
        root: the folder of the data; messages give the path relative to it.
        required: columns that the table must have, in lower case.

    Raises:
        StreamError: the file is missing, cannot be read as such a table, has no rows, or lacks a required
            column.
    """
    name = path.relative_to(root).as_posix()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            read = _json_rows if path.suffix.lower() == ".jsonl" else _csv_rows
            rows = list(read(file, name))
    except UnicodeDecodeError as error:
        raise StreamError(f"{name} is not UTF-8 text ({error.reason}); save it as UTF-8") from None
    except csv.Error as error:
        raise StreamError(f"{name} cannot be read as CSV ({error}); write it again as comma-separated text") from None
    except FileNotFoundError:
        raise StreamError(f"there is no {name}; check that the archive was unpacked completely") from None
    if not rows:
        raise StreamError(f"{name} has no rows; list the clips in it")
    columns = column_names(rows)
    absent = [column for column in required if column not in columns]
    if absent:
        raise StreamError(f"{name} has no column {absent[0]!r}; it has {', '.join(columns)}")
    return rows


def column_names(rows: Sequence[Row]) -> list[str]:
    """Return the names of all columns, in the order in which they first appear."""
    return list(dict.fromkeys(column for row in rows for column in row.cells))


def _csv_rows(lines: Iterator[str], name: str) -> Iterator[Row]:
    reader = csv.reader(lines, strict=True)
    columns = [column.strip().lower() for column in next(reader, [])]
    named = [column for column in columns if column]
    if len(set(named)) < len(named):
        raise StreamError(f"{name} names a column twice; it has {', '.join(columns)}")
    for values in reader:
        if not any(value.strip() for value in values):
            continue
        place = f"{name} row {reader.line_num}"
        if len(values) > len(columns):
            raise StreamError(f"{place}: {len(values)} cells under {len(columns)} columns; quote values with commas")
        cells = (value.strip() for value in values)
        yield Row(place, {**dict.fromkeys(named, ""), **dict(zip(columns, cells, strict=False))})


def _json_rows(lines: Iterator[str], name: str) -> Iterator[Row]:
    import json

    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{name} row {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise StreamError(f"{place} is not JSON ({error}); write one object per line") from None
        if not isinstance(value, dict):
            raise StreamError(f"{place} is not a JSON object; write one object per line")
        # No column that we read has nested values, and a null counts as an empty cell.
        flat = {k: v for k, v in value.items() if not isinstance(v, (dict, list))}
        yield Row(place, {k.strip().lower(): "" if v is None else str(v).strip() for k, v in flat.items()})
