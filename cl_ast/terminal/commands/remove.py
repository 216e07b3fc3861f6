"""`cl-ast remove`"""

from __future__ import annotations

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line


@click.command("remove")
@click.argument("task")
@pass_app
def remove(app: App, /, task: str) -> None:
    """Remove a task; other tasks are unaffected.

    \b
    cl-ast remove birds
    """
    with app.registry() as registry:
        registry.remove(task)
    print_line(f"{task} is removed")
