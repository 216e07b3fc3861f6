"""`cl-ast route`"""

from __future__ import annotations

import sys

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line, warn


@click.command("route")
@click.argument("tasks", nargs=-1, metavar="[TASK...]")
@pass_app
def route(app: App, /, tasks: tuple[str, ...]) -> None:
    """Rebuild the routing of tasks, without training.

    Needed once where another release of cl-ast learned it: `--task auto` then says so. Each task gets a new version
    with the same adapter. A task whose clips are gone answers by name only, until they are there again.

    \b
    cl-ast route
    cl-ast route birds
    """
    with app.manager() as manager, app.progress() as display:
        skipped = manager.route(tasks, progress=display)
        count = len(tasks or manager.registry.tasks()) - len(skipped)
    print_line(f"rebuilt the routing of {count} task{'' if count == 1 else 's'}")
    for name, reason in skipped.items():
        warn(f"{name} answers by name only: {reason}")
    if skipped:
        sys.exit(1)
