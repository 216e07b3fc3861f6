"""Reading the tables that come with data: CSV and JSON lines, with errors that name file and row.

Messages leave the data's root out: the loader puts it in front.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from cl_ast.errors import StreamError
from streams.task import Collection, Record


class Row(NamedTuple):
    """One row: where it is, for messages, and its cells by column (lower case), stripped."""

    place: str
    cells: dict[str, str]

    def need(self, column: str) -> str:
        """That cell, which may not be empty.

        Raises:
            StreamError: it is.
        """
        value = self.cells.get(column, "")
        if not value:
            raise StreamError(f"{self.place}: no {column}; fill it in or take the row out")
        return value

    def need_path(self, column: str) -> PurePosixPath:
        """That cell as a relative path that stays inside.

        Raises:
            StreamError: it is empty, absolute or leads up.
        """
        value = self.need(column)
        path, windows = PurePosixPath(value), PureWindowsPath(value)
        if path.is_absolute() or windows.drive or windows.root or ".." in windows.parts or "\0" in value:
            raise StreamError(f"{self.place}: {value!r} leads out of the folder; write a path relative to it")
        return path


def read_rows(path: Path, root: Path, required: Sequence[str] = ()) -> list[Row]:
    """All rows of a .csv or .jsonl file; blank lines are skipped, a byte order mark is fine.

    Raises:
        StreamError: it is no such file, not UTF-8, has no rows, or lacks a required column.
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
        raise StreamError(f"there is no {name}; is the archive unpacked to its end?") from None
    if not rows:
        raise StreamError(f"{name} has no rows; list the clips in it")
    columns = list(dict.fromkeys(column for row in rows for column in row.cells))
    absent = [column for column in required if column not in columns]
    if absent:
        raise StreamError(f"{name} has no column {absent[0]!r}; it has {', '.join(columns)}")
    return rows


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
            raise StreamError(f"{place} is not JSON ({error}); write one object a line") from None
        if not isinstance(value, dict):
            raise StreamError(f"{place} is not a JSON object; write one object a line")
        # Nested values are of no use to us, and a null is an empty cell.
        flat = {k: v for k, v in value.items() if not isinstance(v, (dict, list))}
        yield Row(place, {k.strip().lower(): "" if v is None else str(v).strip() for k, v in flat.items()})


def ordered_labels(records: Sequence[Record], numbers: Sequence[tuple[str, str]]) -> Collection:
    """The records with their labels in the order of the data set's own class numbers.

    Raises:
        StreamError: a number is none, or a number and a name do not belong together one to one.
    """
    by_number: dict[int, str] = {}
    for number, label in numbers:
        if not (number.isascii() and number.isdigit()):
            raise StreamError(f"class number {number!r} of {label!r} is not a number; unpack the data again")
        if by_number.setdefault(int(number), label) != label:
            raise StreamError(f"class {number} is both {by_number[int(number)]!r} and {label!r}; unpack the data again")
    labels = tuple(by_number[number] for number in sorted(by_number))
    if len(set(labels)) < len(labels):
        raise StreamError("two class numbers have the same name; unpack the data again")
    return Collection(list(records), labels)


def sorted_labels(records: Sequence[Record]) -> Collection:
    """The records with their labels sorted, where the data have no order of their own."""
    return Collection(list(records), tuple(sorted({r.label for r in records})))


def check_present(records: Sequence[Record], root: Path, advice: str) -> None:
    """Refuse records whose files are not there.

    Raises:
        StreamError: how many, the first, and the advice.
    """
    missing = sorted(r.path for r in records if not r.path.is_file())
    if missing:
        first = missing[0].relative_to(root).as_posix()
        raise StreamError(f"{len(missing)} of {len(records)} clips are missing, the first is {first}; {advice}")
