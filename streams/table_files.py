"""Reads the tables that come with data (CSV and JSON lines), with errors that name the file and the row.

Messages leave out the folder of the data, because the loader puts it in front of them.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TextIO

from cl_ast.errors import StreamError
from streams.records import TAG_MARK
from streams.safe_paths import leads_outside
from streams.values import clean, nfc, shortest_number

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}

TAG_COLUMNS = ("labels", "tags")
"""The columns that have the labels of clips which may have several, where there is no column `label`."""


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        place: the file and the number of the row, for messages.
        cells: the text of each cell as `streams.values.clean` gives it, by the name of its column in lower case.
    """

    place: str
    cells: dict[str, str]

    def need(self, column: str) -> str:
        """Return a cell that must not be empty, in Unicode's composed form.

        Raises:
            StreamError: the cell is empty or missing.
        """
        return nfc(self._filled(column))

    def need_number(self, column: str) -> str:
        """Return a cell that must not be empty, with a whole number in its shortest form, such as `3` for `3.0`.

        Raises:
            StreamError: the cell is empty or missing.
        """
        return shortest_number(self._filled(column))

    def need_path(self, column: str) -> PurePosixPath:
        """Return a cell as a relative path that stays inside the folder.

        Raises:
            StreamError: the cell is empty, or its path is absolute or leads outside.
        """
        value = self._filled(column)  # in its own Unicode form, because two files may differ in nothing else
        if leads_outside(value):
            raise StreamError(f"{self.place}: {value!r} leads out of the folder; write a path relative to it")
        return PurePosixPath(value)

    def _filled(self, column: str) -> str:
        value = self.cells.get(column, "")
        if not value:
            raise StreamError(
                f"{self.place}: no {column}; fill it in or take the row out (NA, null and the like count as empty)"
            )
        return value


def read_rows(path: Path, root: Path, required: Sequence[str] = ()) -> list[Row]:
    """Read all rows of a .csv or .jsonl file in UTF-8. Blank lines and a byte order mark are skipped.

    A .csv has commas between its cells, or semicolons where its first line has no comma.

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
        _check_encoding(path, name)
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
    absent = [column for column in required if column not in column_names(rows)]
    if absent:
        raise StreamError(f"{name} has no column {absent[0]!r}; {say_columns(rows)}")
    return rows


def column_names(rows: Sequence[Row]) -> list[str]:
    """Return the names of all columns, in the order in which they first appear."""
    return list(dict.fromkeys(column for row in rows for column in row.cells))


def say_columns(rows: Sequence[Row]) -> str:
    """Return the end of a message about a missing column: the columns that are there, and a wrong separator."""
    columns = ", ".join(column_names(rows))
    wrong = next((name for mark, name in _SEPARATORS.items() if mark in columns), None)
    return f"it has {columns}" + (f", separated by {wrong}; save it with commas" if wrong else "")


def _check_encoding(path: Path, name: str) -> None:
    """Raise a StreamError if the file is UTF-16 or UTF-32, which spreadsheets call Unicode text."""
    with path.open("rb") as file:
        start = file.read(4)
    # Text in UTF-16 begins with a mark, or has a zero byte in one of its first two characters.
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in start:
        raise StreamError(f"{name} is not UTF-8 text (it looks like UTF-16); save it as UTF-8")


def _csv_rows(file: TextIO, name: str) -> Iterator[Row]:
    reader = csv.reader(file, strict=True, delimiter=_delimiter(file))
    filled = (cells for cells in reader if any(cell.strip() for cell in cells))
    header: list[str] = next(filled, [])
    if header[:1] == ["sep="]:  # the line that tells Excel the separator
        header = next(filled, [])
    columns = _columns(header, name)
    named = [column for column in columns if column]
    for values in reader:
        if not any(value.strip() for value in values):
            continue
        place = f"{name} row {reader.line_num}"
        if len(values) > len(columns):
            raise StreamError(
                f"{place}: {len(values)} cells under {len(columns)} columns; quote values with a separator inside"
            )
        yield Row(place, {**dict.fromkeys(named, ""), **dict(zip(columns, map(clean, values), strict=False))})


def _delimiter(file: TextIO) -> str:
    """Return what separates the cells: a comma, or a semicolon as spreadsheets write it where a comma is decimal."""
    first = next((line for line in file if line.strip()), "")
    file.seek(0)
    return ";" if ";" in first and "," not in first else ","


def _json_rows(lines: Iterator[str], name: str) -> Iterator[Row]:
    import json

    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{name} row {number}"
        try:
            value = json.loads(line, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError) as error:
            raise StreamError(f"{place} is not JSON ({error}); write one object per line") from None
        if not isinstance(value, _Pairs):
            raise StreamError(f"{place} is not a JSON object; write one object per line")
        columns = _columns([key for key, _ in value], place)
        cells = zip(columns, (cell for _, cell in value), strict=True)
        yield Row(place, {name: _json_cell(cell, place) for name, cell in cells if _is_plain(name, cell)})


class _Pairs(list[tuple[str, Any]]):
    """The keys and values of a JSON object. Unlike a dictionary, it keeps a key that is there twice."""


def _is_plain(name: str, cell: object) -> bool:
    """Return whether a cell has no nested values, as no column that we read has; tags may be a list."""
    return not isinstance(cell, list) or (name in TAG_COLUMNS and type(cell) is list)


def _json_cell(value: object, place: str) -> str:
    if isinstance(value, list):
        value = TAG_MARK.join(map(str, value))
    if value is None or value in (float("inf"), float("-inf")):  # `clean` takes care of NaN
        return ""
    text = clean(str(value))
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StreamError(f"{place}: {text!r} has half a character in it; write it again as UTF-8") from None
    return text


def _columns(header: Sequence[str], name: str) -> list[str]:
    """Return the names of the columns in lower case, with underscores for spaces and hyphens.

    Raises:
        StreamError: two columns have the same name.
    """
    columns = [nfc(column).strip().strip("\ufeff").strip().lower() for column in header]
    named = [column for column in columns if column]
    if len(set(named)) < len(named):
        raise StreamError(f"{name} names a column twice; it has {', '.join(columns)}")
    joined = [re.sub(r"[ \u00a0-]+", "_", column) for column in columns]
    # A name with a space stays as it is where its other spelling is a column too.
    return [new if joined.count(new) == 1 else old for old, new in zip(columns, joined, strict=True)]
