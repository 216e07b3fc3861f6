"""`cl-ast undo`"""

from __future__ import annotations

import click

from cl_ast.terminal.app import App, pass_app


@click.command("undo")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@pass_app
def undo(app: App, /, yes: bool) -> None:
    """Take the last change of the tasks back.

    \b
    That is what add-task, import, pull, route, remove, rename, rollback or gc
    did last. Its files must still be in the trash, where they stay for 30
    days. A second `cl-ast undo` takes the undo back.

    \b
    cl-ast undo
    """
    with app.registry() as registry:
        change = registry.last_change()
        report = registry.undo(change)
    click.echo(str(report))
    again = "a second `cl-ast undo` takes this back"
    click.echo(again if report.undoable else "this was too large for a second `cl-ast undo`")
