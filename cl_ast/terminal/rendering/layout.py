"""Parts of tables: columns, words that may be broken into lines, and plain lines for very many rows."""

import re
from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text


def bare(*columns: str) -> Table:
    """Return an empty table with these columns; columns of numbers are right-aligned."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for column in columns:
        numeric = column.endswith(" %") or column in _NUMBERS
        whole = numeric or column == "on"
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=whole)
    return table


def square(names: Sequence[str]) -> Table:
    """Return an empty table of tasks by tasks, with a first column for the names."""
    table = bare("")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    return table


_NUMBERS = {
    "classes",
    "parameters",
    "size",
    "size per task",
    "clips",
    "version",
    "ver.",
    "probability",
    "from",
    "to",
}


class Lines:
    """A plain table whose columns are as wide as their widest cell; rich takes seconds for thousands of rows."""

    def __init__(self, columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        template = "  ".join(f"%{'-' if i < 2 else ''}{width}s" for i, width in enumerate(widths))
        self._text = "".join(f"{template % row}\n" for row in [tuple(columns), *rows])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Segment(self._text)


class Breakable:
    """A word that is broken after hyphens, commas, colons, pluses and slashes if it does not fit on one line."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._pieces = re.findall(r"[^-,:+/]*[-,:+/]|[^-,:+/]+", word)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(max(map(cell_len, self._pieces), default=0), cell_len(self._word))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [""]
        for piece in self._pieces:
            if lines[-1] and cell_len(lines[-1] + piece) > options.max_width:
                lines.append("")
            lines[-1] += piece
        yield Text("\n".join(lines), overflow="fold")
