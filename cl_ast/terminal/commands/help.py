"""`cl-ast help`"""

from __future__ import annotations

import click


@click.command("help")
@click.argument("command", required=False)
@click.pass_context
def help_(ctx: click.Context, command: str | None) -> None:
    """Show what cl-ast or one COMMAND does, as --help does.

    \b
    cl-ast help predict
    """
    root = ctx.find_root()
    words = [command, "--help"] if command else ["--help"]
    root.command.main(words, prog_name=root.info_name, standalone_mode=False)
