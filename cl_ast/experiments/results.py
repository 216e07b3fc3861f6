"""Keeps the finished cells of an experiment in a CSV file, a line a cell, so that a run that was stopped can go on."""

import csv
import errno
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from cl_ast.errors import ClAstError
from cl_ast.training.file_lock import try_lock
from registry.file_stores import sync_folder

FILE = "results.csv"

Value = str | int | float | None
Row = dict[str, str]
Key = tuple[str, ...]


class Results:
    """The lines of `results.csv` in a folder. To be used as a context manager, by one process at a time.

        with Results(folder, keys=["task", "seed"], values=["accuracy"]) as results:
            for cell in cells:
                if results.key_of(cell) not in results.latest():
                    results.append({**cell, "accuracy": measure(cell)})

    The file is CSV in UTF-8 with a header, as spreadsheets and pandas read it. All values are texts when they are read
    back: a number is written with as many digits as give the same number again, and None as an empty text.

    Attributes:
        path: the file.
        columns: the key columns, and then the value columns.
    """

    def __init__(self, folder: Path, keys: Sequence[str], values: Sequence[str]) -> None:
        """Open the file, or make it. What a killed run left of a last line is removed.

        Args:
            folder: where the file is; made if it is not there.
            keys: the columns that together say which cell a line is of.
            values: the columns of its results.

        Raises:
            ClAstError: the file cannot be written, another run has it open, or it has other columns.
        """
        self.path = folder / FILE
        self.columns = (*keys, *values)
        self._keys = tuple(keys)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise self._failed(error) from None
        try:
            self._rows = self._opened()
        except OSError as error:
            self._file.close()
            raise self._failed(error) from None
        except ClAstError:
            self._file.close()
            raise

    def __enter__(self) -> "Results":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def rows(self) -> tuple[Row, ...]:
        """All lines, the oldest first."""
        return tuple(self._rows)

    def key_of(self, row: Mapping[str, Value]) -> Key:
        """Return which cell a line is of: the texts of its key columns."""
        return tuple(_text(row[name]) for name in self._keys)

    def latest(self) -> dict[Key, Row]:
        """Return the last line of each cell, in the order in which the cells were first finished."""
        return {self.key_of(row): row for row in self._rows}

    def append(self, row: Mapping[str, Value]) -> None:
        """Write the line of a finished cell, so that it outlives a power loss.

        Raises:
            ClAstError: it cannot be written; the file is then as it was.
            ValueError: the line has other columns than the file.
        """
        if set(row) != set(self.columns):
            raise ValueError(f"the columns {sorted(row)} are not those of {self.path}, {sorted(self.columns)}")
        texts = [_text(row[name]) for name in self.columns]
        try:
            self._write(texts)
        except OSError as error:
            raise self._failed(error) from None
        self._rows.append(dict(zip(self.columns, texts, strict=True)))

    def _opened(self) -> list[Row]:
        # Windows has no such lock, and takes every file for free.
        if os.name != "nt" and not try_lock(self._file):
            raise ClAstError(f"{self.path}: another run writes there; wait for its end, or name another folder")
        self._file.seek(0)
        data = self._file.read()
        whole = _whole(data)
        if not whole and not _line(self.columns).startswith(data):
            raise self._foreign(data.decode("utf-8", "replace"))
        rows = self._parsed(data[:whole])
        self._file.truncate(whole)
        if not whole:
            self._write(self.columns)
            sync_folder(self.path.parent)
        return rows

    def _parsed(self, data: bytes) -> list[Row]:
        text = io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")
        lines = csv.reader(text, strict=True)
        try:
            header = next(lines, self.columns)
            if tuple(header) != self.columns:
                raise self._foreign(", ".join(header))
            return [dict(zip(self.columns, line, strict=True)) for line in lines]
        except (csv.Error, ValueError) as error:
            raise ClAstError(
                f"{self.path}: line {lines.line_num} is not as it was written ({error}); mend or remove it"
            ) from None

    def _write(self, texts: Sequence[str]) -> None:
        """Write one line, or nothing if there is no room for all of it."""
        line = _line(texts)
        end = self._file.seek(0, os.SEEK_END)
        try:
            if self._file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(end)
            raise

    def _foreign(self, header: str) -> ClAstError:
        return ClAstError(
            f"{self.path}: these are the results of something else. The file has the columns {header:.200}, "
            f"where {', '.join(self.columns)} are needed; name another folder"
        )

    def _failed(self, error: OSError) -> ClAstError:
        return ClAstError(f"{self.path}: results cannot be written there ({error.strerror}); name another folder")


def _text(value: Value) -> str:
    return "" if value is None else str(value)


def _line(texts: Sequence[str]) -> bytes:
    out = io.StringIO()
    # With this line end, texts that have either of its characters are put in quotes.
    csv.writer(out, lineterminator="\r\n").writerow(texts)
    return (out.getvalue().removesuffix("\r\n") + "\n").encode("utf-8", "surrogateescape")


def _whole(data: bytes) -> int:
    """Return how many bytes the whole lines take: up to the last line end that is in no quotes."""
    position = end = quotes = 0
    for line in io.BytesIO(data):
        position += len(line)
        quotes += line.count(b'"')
        if line.endswith(b"\n") and quotes % 2 == 0:
            end = position
    return end
