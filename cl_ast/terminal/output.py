"""How every command that prints a value takes `--format`, and prints JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


def table_or(*kinds: str) -> Callable[[Command], Command]:
    """The option `--format`: a table, or one of these."""
    return click.option("--format", "kind", type=click.Choice(["table", *kinds]), default="table", show_default=True)


def print_json(value: Any) -> None:
    from cl_ast.terminal.rendering.formats import as_json

    click.echo(as_json(value))
