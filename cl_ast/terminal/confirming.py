"""Asks before something is lost. Scripts have no terminal, so they are never asked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from cl_ast.terminal.output import warn

yes_option = click.option("--yes", is_flag=True, help="Do not ask, as without a terminal.")


def confirm(question: Callable[[], str | None], *, yes: bool) -> None:
    """Ask on standard error whether to go on, and end the command with 1 for any answer but y or yes.

    Nothing is asked with `yes`, or where standard input or standard error is no terminal.

    Args:
        question: returns what would be lost, as a question; None where that is nothing.
    """
    if yes or not (_is_terminal(sys.stdin) and _is_terminal(sys.stderr)):
        return
    words = question()
    if words is None:
        return
    try:
        click.echo(f"{words} [y/N] ", err=True, nl=False)
        answer = sys.stdin.readline()
    except (KeyboardInterrupt, UnicodeDecodeError):
        answer = ""
    if not answer.endswith("\n"):  # the line was not ended
        click.echo(err=True)
    if answer.strip().lower() not in ("y", "yes"):
        warn("nothing was changed")
        raise click.exceptions.Exit(1)


def _is_terminal(stream: Any) -> bool:
    """Return whether a stream is a terminal; a closed one is none."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False
