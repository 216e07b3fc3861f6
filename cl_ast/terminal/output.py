"""How commands print what they found: as a table or in the form that `--format` names."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from cl_ast.progress import ClAstWarning

if TYPE_CHECKING:
    from registry import TaskRecord

Command = Callable[..., Any]


def table_or(*kinds: str) -> Callable[[Command], Command]:
    """Add the option `--format`: a table, or one of these."""
    return click.option("--format", "kind", type=click.Choice(["table", *kinds]), default="table", show_default=True)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    from cl_ast.terminal.rendering.formats import as_json

    click.echo(as_json(value))


def print_stats(report: dict[str, Any], kind: str) -> None:
    """Print what `stats` reports, as a table, JSON or CSV."""
    if kind == "json":
        print_json(report)
    elif kind == "csv":
        from cl_ast.terminal.rendering.formats import as_csv

        click.echo(as_csv(report["tasks"]))
    else:
        from cl_ast.terminal.rendering import stats_tables, tables

        tables.show(stats_tables.stats(report))


def imported_line(record: TaskRecord) -> str:
    """Return what is said of a task that was just imported."""
    return f"imported {record.name} as version {record.version.number}, with {len(record.labels)} labels"


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print the warnings of cl-ast inside the block to standard error, one line for each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ClAstWarning)
        try:
            yield
        finally:
            found = list(caught)
    for one in found:
        if issubclass(one.category, ClAstWarning):
            click.echo(f"cl-ast: {one.message}", err=True)
        else:
            warnings.showwarning(one.message, one.category, one.filename, one.lineno)
