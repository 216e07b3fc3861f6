"""`cl-ast export`"""

from __future__ import annotations

from pathlib import Path

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line


@click.command("export")
@click.argument("task")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@pass_app
def export(app: App, /, task: str, folder: Path) -> None:
    """Write a task as a folder of its own, to share.

    DIR is new or empty. It gets the weights, a configuration and a model card; where the method is LoRA, `peft`
    loads it as it is.

    \b
    cl-ast export birds birds-adapter/
    """
    with app.manager() as manager:
        print_line(f"exported {task} to {manager.export(task, folder)}")
