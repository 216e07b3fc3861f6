"""`cl-ast undo`"""

from __future__ import annotations

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.confirming import confirm, yes_option
from cl_ast.terminal.output import print_line


@click.command("undo")
@yes_option
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
        if change is not None:
            confirm(lambda: f"Take back: {change}?", yes=yes)
        report = registry.undo(change)
    print_line(str(report))
    again = "a second `cl-ast undo` takes this back"
    print_line(again if report.undoable else "this was too large for a second `cl-ast undo`")
