"""`cl-ast rollback`"""

from __future__ import annotations

import click

from cl_ast.terminal.app import App, pass_app


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
    click.echo(f"{task} answers with version {number} now")
    if others:
        click.echo(f"`cl-ast gc` would delete its other versions: {', '.join(others)}")
