"""`cl-ast push`"""

from __future__ import annotations

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line


@click.command("push")
@click.argument("task")
@click.argument("repository")
@click.option("--public", is_flag=True, help="For everybody to see. [default: private]")
@pass_app
def push(app: App, /, task: str, repository: str, public: bool) -> None:
    """Export a task to the Hugging Face hub.

    REPOSITORY is owner/name; it is made if need be, and private unless --public is given. Log in with
    `hf auth login` first.

    \b
    cl-ast push birds me/birds-adapter
    """
    with app.manager() as manager:
        print_line(f"exported {task} to {manager.push(task, repository, public=public)}")
