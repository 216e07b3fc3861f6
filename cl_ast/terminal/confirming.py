"""Asks before something is taken away, where somebody can answer."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from cl_ast.errors import ClAstError
from cl_ast.escaping import escaped_line

yes_option = click.option("--yes", is_flag=True, help="Do not ask. Without a terminal nothing is asked either.")
"""Give a command the option `--yes`."""


def can_ask() -> bool:
    """Return whether there is somebody to answer: a script must go on without waiting."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: Callable[[], str], *, yes: bool) -> None:
    """Ask on standard error, unless `yes` or without a terminal. The answer is no unless somebody says yes.

    Args:
        question: returns what is about to happen and what could be lost; called only where it is needed.

    Raises:
        ClAstError: the answer was no.
    """
    if not yes and can_ask() and not click.confirm(escaped_line(question()), err=True):
        raise ClAstError("nothing was changed")
