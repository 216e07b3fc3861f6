"""Parts of tables: columns, words that may be broken into lines, and plain lines for very many rows.

Each part escapes its text when it is made. So the columns are as wide as what is shown, and a line end in a label
makes no row.
"""

import re
from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import StyleType
from rich.table import Table
from rich.text import Text

from cl_ast.escaping import escaped, is_plain
from cl_ast.terminal.rendering import widths

_BETWEEN = 2  # columns are so far apart


class EscapedTable(Table):
    """A table whose text cells are escaped, never taken for markup, and broken between words (`widths`)."""

    def add_row(
        self,
        *renderables: RenderableType | None,
        style: StyleType | None = None,
        end_section: bool = False,
    ) -> None:
        """Add a row; a cell of text is escaped."""
        cells = [Breakable(cell) if isinstance(cell, str) else cell for cell in renderables]
        super().add_row(*cells, style=style, end_section=end_section)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found = [_measured((column.header, *column.cells), console, options) for column in self.columns]
        widest, words = [one.maximum for one in found], [one.minimum for one in found]
        room = options.max_width - _BETWEEN * (len(found) - 1)
        if sum(widest) > room:
            lines = [
                one.maximum if column.no_wrap else one.minimum for column, one in zip(self.columns, found, strict=True)
            ]
            fitting = widths.that_fit(widest, lines, words, room)
            for column, width, most in zip(self.columns, fitting, widest, strict=True):
                column.width, column.no_wrap = width, bool(column.no_wrap) and width >= most
        yield from super().__rich_console__(console, options)


def _measured(cells: Iterable[RenderableType], console: Console, options: ConsoleOptions) -> Measurement:
    """Return the width of the longest word and of the longest line of a column."""
    found = [Measurement.get(console, options, cell) for cell in cells]
    return Measurement(max(one.minimum for one in found), max(one.maximum for one in found))


def line(text: str, style: str = "") -> Text:
    """Return a value or a sentence with values as one line of a table or a page, escaped."""
    return Text(escaped(text), style=style)


def more(count: int, kind: str) -> Text:
    """Return the line below a long table that is cut: how many rows are left out, and the format that has them."""
    return line(f"… {count:,} more: --format {kind}", "dim")


def bare(*columns: str) -> EscapedTable:
    """Return an empty table with these columns; columns of numbers are right-aligned."""
    table = EscapedTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for column in columns:
        numeric = column.endswith(" %") or column in _NUMBERS
        whole = numeric or column in ("hears", "size", "on")
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=whole)
    return table


def square(names: Sequence[str]) -> EscapedTable:
    """Return an empty table of tasks by tasks, with a first column for the names."""
    table = bare("")
    for name in names:
        table.add_column(Breakable(name), justify="right", overflow="fold")
    return table


_NUMBERS = {
    "classes",
    "train",
    "validation",
    "test",
    "p-value",
    "hears",
    "parameters",
    "size",
    "size per task",
    "clips",
    "version",
    "v.",
    "probability",
    "replay",
    "seconds",
    "from",
    "to",
    "K",
    "rank",
}


class Lines:
    """A plain table whose columns are as wide as their widest cell; rich takes seconds for thousands of rows."""

    def __init__(self, columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
        # Most rows need no escape; looking at a whole row at once takes a third of the time.
        rows = [row if is_plain("".join(row)) else tuple(map(escaped, row)) for row in rows]
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        template = "  ".join(f"%{'-' if i < 2 else ''}{width}s" for i, width in enumerate(widths))
        self._text = "".join(f"{template % row}\n" for row in [tuple(columns), *rows])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Segment(self._text)


class Breakable:
    """A text that is broken between words, and a word that does not fit on a line after one of `-,:+/_`."""

    def __init__(self, text: str, style: str = "", word: str = r"\S+") -> None:
        """
        Args:
            word: a pattern of what counts as one word; it may have spaces.
        """
        self._text, self._style = escaped(text), style
        self._words = re.findall(rf"(?:{word})\s*|\s+", self._text)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        pieces = (piece.rstrip() for word in self._words for piece in _pieces(word))
        return Measurement(max(map(cell_len, pieces), default=0), cell_len(self._text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [""]
        for word in self._words:
            fits = cell_len(word.rstrip()) <= options.max_width
            for piece in [word] if fits else _pieces(word):
                if lines[-1] and cell_len((lines[-1] + piece).rstrip()) > options.max_width:
                    lines.append("")
                lines[-1] += piece
        yield Text("\n".join(one.rstrip() for one in lines), self._style, overflow="fold")


def _pieces(word: str) -> list[str]:
    """Return the parts of a word, with the space after it, between which it may be broken."""
    return re.findall(r"[^-,:+/_]*[-,:+/_]\s*|[^-,:+/_]+", word)
