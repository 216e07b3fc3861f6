"""`cl-ast import`"""

from __future__ import annotations

from pathlib import Path

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import imported_line, print_line, say_by_name_only


@click.command("import")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--name", help="What to call the task. [default: its own name]")
@click.option("--replace", is_flag=True, help="Make it the next version of a task of that name.")
@click.option("--backbone", help="The backbone of a new registry. [default: the adapter's, if it is known]")
@pass_app
def import_task(app: App, /, folder: Path, name: str | None, replace: bool, backbone: str | None) -> None:
    """Import a task from a folder that `export` or peft wrote.

    The folder may come from anybody: it is checked whole before anything is kept, and nothing in it is run. The task
    answers by name only until `cl-ast route NAME --with DIR` learns from clips of yours which are its kind.

    \b
    cl-ast import birds-adapter/
    cl-ast import birds-adapter/ --name their-birds
    """
    with app.manager(backbone, create=True) as manager:
        record = manager.import_(folder, name=name, replace=replace)
    print_line(imported_line(record))
    say_by_name_only(record)
