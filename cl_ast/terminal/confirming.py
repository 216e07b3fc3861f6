"""Asks before something is lost. Scripts have no terminal, so they are never asked."""

from __future__ import annotations

from collections.abc import Callable

import click

from cl_ast.terminal.output import answer_to, can_ask, warn

yes_option = click.option("--yes", is_flag=True, help="Do not ask, as without a terminal.")


def confirm(question: Callable[[], str | None], *, yes: bool) -> None:
    """Ask on standard error whether to go on, and end the command with 1 for any answer but y or yes.

    Nothing is asked with `yes`, or where standard input or standard error is no terminal.

    Args:
        question: returns what would be lost, as a question; None where that is nothing.
    """
    if yes or not can_ask():
        return
    words = question()
    if words is not None and answer_to(f"{words} [y/N]").lower() not in ("y", "yes"):
        warn("nothing was changed")
        raise click.exceptions.Exit(1)
