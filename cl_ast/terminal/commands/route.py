"""`cl-ast route`"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line, warn


@click.command("route")
@click.argument("tasks", nargs=-1, metavar="[TASK...]")
@click.option(
    "--with",
    "clips",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Learn the routing of one TASK from the clips in DIR, labelled or not.",
)
@pass_app
def route(app: App, /, tasks: tuple[str, ...], clips: Path | None) -> None:
    """Rebuild the routing of tasks, without training.

    Needed once where another release of cl-ast learned it: `--task auto` then says so. Each task gets a new version
    with the same adapter. A task whose clips are gone answers by name only, until they are there again.

    An imported task answers by name only until --with DIR lets the router know it: DIR is a folder of at least 10
    clips that are of its kind. Without --with, clips of a published data set are found by themselves.

    \b
    cl-ast route
    cl-ast route birds
    cl-ast route their-birds --with recordings-of-birds/
    """
    if clips is not None and len(tasks) != 1:
        raise click.UsageError("--with needs exactly one TASK: the one that the clips belong to")
    with app.manager() as manager, app.progress() as display:
        skipped = manager.route(tasks, display, clips=clips)
        count = len(tasks or manager.registry.tasks()) - len(skipped)
    print_line(f"rebuilt the routing of {count} task{'' if count == 1 else 's'}")
    for name, reason in skipped.items():
        warn(f"{name} answers by name only: {reason}")
    if skipped:
        sys.exit(1)
