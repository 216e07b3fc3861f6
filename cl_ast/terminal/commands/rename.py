"""`cl-ast rename`"""

from __future__ import annotations

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line


@click.command("rename")
@click.argument("task")
@click.argument("new_name")
@pass_app
def rename(app: App, /, task: str, new_name: str) -> None:
    """Give a task another name.

    \b
    cl-ast rename birds garden-birds
    """
    with app.registry() as registry:
        print_line(f"{task} is now called {registry.rename(task, new_name).name}")
