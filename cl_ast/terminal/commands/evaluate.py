"""`cl-ast evaluate`"""

from __future__ import annotations

import sys

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_json, table_or, warn


@click.command("evaluate")
@click.argument("tasks", nargs=-1, metavar="[TASK...]")
@click.option("--by-name", is_flag=True, help="Measure with the task named only, and not routed.")
@click.option(
    "--task",
    "mode",
    type=click.Choice(["auto", "oracle"]),
    default="auto",
    help="The same choice as scripts write it: oracle is --by-name.",
)
@table_or("json")
@pass_app
def evaluate(app: App, /, tasks: tuple[str, ...], by_name: bool, mode: str, kind: str) -> None:
    """Measure tasks again on their test clips, and record it.

    Accuracy is measured with the task named and, unless --by-name is given, with the task chosen by the router.

    \b
    cl-ast evaluate
    cl-ast evaluate birds --by-name
    """
    from cl_ast.terminal.rendering import results, tables

    with app.manager() as manager, app.progress() as display:
        measured, skipped = manager.evaluate(tasks, auto=mode == "auto" and not by_name, progress=display)
    rows = [results.measured(one) for one in measured]
    if kind == "json":
        print_json(rows)
    else:
        tables.show(tables.measured(rows))
    for name, reason in skipped.items():
        warn(f"{name} could not be measured: {reason}")
    if skipped:
        sys.exit(1)
