"""`cl-ast export`"""

from __future__ import annotations

from pathlib import Path

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line


@click.command("export")
@click.argument("task")
@click.argument("path", type=click.Path(path_type=Path), metavar="DIR|FILE")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["folder", "onnx"]),
    default="folder",
    show_default=True,
    help="A folder for cl-ast and peft, or one ONNX file that answers by itself.",
)
@click.option("--unshared", is_flag=True, help="Without its shared part, as the LoRA or bottleneck that it acts as.")
@pass_app
def export(app: App, /, task: str, path: Path, kind: str, unshared: bool) -> None:
    """Write a task as a folder to share, or as an ONNX file.

    DIR is new or empty. It gets the weights, a configuration and a model card; where the method is LoRA, `peft`
    loads it as it is. A task that reads a shared part takes the part along. An ONNX file has the backbone and the
    front end in it: onnxruntime answers with it, from samples to probabilities, without torch and cl-ast. It needs
    pip install 'cl-ast[onnx]'.

    \b
    cl-ast export birds birds-adapter/
    cl-ast export birds birds-lora/ --unshared
    cl-ast export birds birds.onnx --format onnx
    """
    from cl_ast.sharing import exchange

    with app.manager() as manager:
        print_line(f"exported {task} to {exchange.export(manager.session, task, path, kind, unshared=unshared)}")
