"""Keeps what a command says of its work in a file (`--log-file`), with the time of each line."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path

import click

from cl_ast.errors import ClAstError

_KEY = "cl_ast.terminal.log_file"  # in the metadata of click's context, which all commands of a call share


def open_log(ctx: click.Context, path: Path) -> None:
    """Add to a log file what is said from now on until the command ends.

    Raises:
        ClAstError: the file cannot be written.
    """
    from importlib.metadata import version  # here, for it takes time

    try:
        file = path.open("a", encoding="utf-8", errors="backslashreplace", newline="\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ClAstError(f"{path}: the log cannot be written there ({reason}); name another --log-file") from None
    ctx.meta[_KEY] = ctx.find_root().with_resource(file)
    log(f"cl-ast {version('cl-ast')}: {ctx.invoked_subcommand or ctx.info_name}")


def log(text: str) -> None:
    """Add lines to the log file, if there is one. They are escaped already. A full disk is no reason to stop."""
    ctx = click.get_current_context(silent=True)
    file = None if ctx is None else ctx.meta.get(_KEY)
    if file is None:
        return
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    with suppress(OSError, ValueError):  # ValueError where it is closed
        file.write("".join(f"{now} {line}\n" for line in text.splitlines()))
        file.flush()
