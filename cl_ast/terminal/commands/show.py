"""`cl-ast show`"""

from __future__ import annotations

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_json, table_or


@click.command("show")
@click.argument("task")
@table_or("json")
@pass_app
def show(app: App, /, task: str, kind: str) -> None:
    """Everything about one task: its training, and its versions.

    \b
    cl-ast show birds
    """
    from cl_ast.tasks.length import seconds_of

    with app.registry() as registry:
        record, versions = registry.task(task), registry.versions(task)
        seconds = seconds_of(registry, record.version)
    if kind == "json":
        from cl_ast.terminal.rendering import records

        print_json({**records.task(record, seconds), "versions": [records.version(one) for one in versions]})
        return
    from cl_ast.terminal.rendering import tables, task_page

    tables.show(task_page.task(record, versions, seconds))
