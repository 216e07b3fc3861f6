"""`cl-ast pull`"""

from __future__ import annotations

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import imported_line, print_line, say_by_name_only


@click.command("pull")
@click.argument("repository")
@click.option("--revision", help="A branch, tag or commit. [default: main]")
@click.option("--name", help="What to call the task. [default: its own name]")
@click.option("--replace", is_flag=True, help="Make it the next version of a task of that name.")
@click.option("--backbone", help="The backbone of a new registry. [default: the adapter's, if it is known]")
@pass_app
def pull(
    app: App, /, repository: str, revision: str | None, name: str | None, replace: bool, backbone: str | None
) -> None:
    """Import a task from the Hugging Face hub.

    It is trusted as little as any other folder. It answers by name only until `cl-ast route NAME --with DIR` learns
    from clips of yours which are its kind.

    \b
    cl-ast pull someone/birds-adapter --name their-birds
    """
    with app.manager(backbone, create=True) as manager:
        record = manager.pull(repository, revision=revision, name=name, replace=replace)
    print_line(imported_line(record))
    say_by_name_only(record)
