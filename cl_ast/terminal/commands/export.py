"""`cl-ast export`"""

from __future__ import annotations

from pathlib import Path

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line


@click.command("export")
@click.argument("task")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--unshared", is_flag=True, help="Without its shared part, as the LoRA or bottleneck that it acts as.")
@pass_app
def export(app: App, /, task: str, folder: Path, unshared: bool) -> None:
    """Write a task as a folder of its own, to share.

    DIR is new or empty. It gets the weights, a configuration and a model card; where the method is LoRA, `peft`
    loads it as it is. A task that reads a shared part takes the part along.

    \b
    cl-ast export birds birds-adapter/
    cl-ast export birds birds-lora/ --unshared
    """
    from cl_ast.sharing import exchange

    with app.manager() as manager:
        print_line(f"exported {task} to {exchange.export(manager.session, task, folder, unshared=unshared)}")
