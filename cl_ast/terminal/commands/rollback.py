"""`cl-ast rollback`"""

from __future__ import annotations

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line


@click.command("rollback")
@click.argument("task")
@click.argument("version", type=click.IntRange(1), required=False)
@pass_app
def rollback(app: App, /, task: str, version: int | None) -> None:
    """Go back to an earlier version of a task.

    Without VERSION, the one before the current. Nothing is deleted until `cl-ast gc`.

    \b
    cl-ast rollback birds 1
    """
    with app.registry() as registry:
        number = registry.rollback(task, version).number
        others = [str(one.number) for one in registry.versions(task) if one.number != number]
    print_line(f"{task} answers with version {number} now")
    if others:
        print_line(f"`cl-ast gc` would move its other versions to the trash: {', '.join(others)}")
