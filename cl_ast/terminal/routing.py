"""The command that learns how clips find their task anew."""

from __future__ import annotations

import sys
from typing import Any

import click


@click.command("route")
@click.argument("tasks", nargs=-1, metavar="[TASK...]")
@click.pass_obj
def route(app: Any, /, tasks: tuple[str, ...]) -> None:
    """Learn the routing of tasks anew, without training.

    Needed once where another release of cl-ast learned it: `--task auto` then says so. Each task gets a new version
    with the same adapter. A task whose clips are gone answers by its name only, until they are there again.

    \b
    cl-ast route
    cl-ast route birds
    """
    with app.manager() as manager, app.watch() as watch:
        skipped = manager.route(tasks, progress=watch)
        count = len(tasks or manager.registry.tasks()) - len(skipped)
    click.echo(f"the routing of {count} task{'' if count == 1 else 's'} was learned anew")
    for name, reason in skipped.items():
        click.echo(f"cl-ast: {name} answers by its name only: {reason}", err=True)
    if skipped:
        sys.exit(1)


COMMANDS = (route,)
