"""How commands print what they found: as a table or in the form that `--format` names."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cl_ast.errors import ClAstError
from cl_ast.progress import ClAstWarning

if TYPE_CHECKING:
    from registry import TaskRecord

Command = Callable[..., Any]


def table_or(*kinds: str) -> Callable[[Command], Command]:
    """Add the option `--format`: a table, or one of these."""
    return click.option("--format", "kind", type=click.Choice(["table", *kinds]), default="table", show_default=True)


@contextmanager
def written() -> Iterator[None]:
    """Turn an error of standard output, such as a full disk, into a ClAstError that says so."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        # Python would try to write the rest again when it ends, and complain.
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ClAstError(
            f"the output cannot be written ({error.strerror or error}); free some space or write it elsewhere"
        ) from error


def warn(line: str) -> None:
    """Print a line to standard error, which may be closed or full: the answers count more."""
    with suppress(OSError):
        click.echo(f"cl-ast: {_without_home(line)}", err=True)


def _without_home(line: str) -> str:
    """Return a line with `~` for the user's folder: such lines are pasted into reports, and it has the user's name."""
    with suppress(RuntimeError):  # a user without a home
        home = str(Path.home())
        return re.sub(re.escape(home) + r"(?![\w.-])", "~", line) if len(home) > 1 else line
    return line


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
    """Print the warnings of cl-ast inside the block to standard error as they come, one line for each."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", ClAstWarning)
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if issubclass(category, ClAstWarning):
                warn(str(message))
            else:
                others(message, category, *where)

        warnings.showwarning = show  # type: ignore[assignment]  # it is called with positions only
        yield
