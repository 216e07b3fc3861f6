"""`cl-ast tasks`"""

from __future__ import annotations

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_json, table_or, warn, without_collections


@click.command("tasks")
@table_or("json")
@pass_app
def tasks(app: App, /, kind: str) -> None:
    """List the tasks, in the order in which they were learned.

    "hears" is how much of a clip a task takes at a time; `predict` cuts a longer clip into windows of that length.

    Below them, which tasks the router takes for one another: where the test clips went when they were last measured.
    And which tasks answer by name only, as imported ones do at first.

    \b
    cl-ast tasks
    """
    click.get_current_context().with_resource(without_collections())
    from cl_ast.tasks.length import all_seconds

    with app.registry() as registry:
        found = registry.tasks()
        seconds = all_seconds(registry, found)
        nearest = registry.nearest(found)
        left_out = registry.count() - len(found)
    if left_out > 0:
        warn(f"{left_out} more cannot be read; `cl-ast verify` says why")
    if kind == "json":
        from cl_ast.terminal.rendering import records

        print_json([records.listed(record, nearest.get(record.name, ()), seconds[record.name]) for record in found])
        return
    from cl_ast.terminal.rendering import tables

    tables.show(tables.tasks(found, seconds), *tables.nearest(nearest), *tables.by_name_only(found))
