"""`cl-ast splits`"""

from __future__ import annotations

import sys

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_json, print_text, table_or, warn


@click.command("splits")
@click.argument("task")
@table_or("json", "csv")
@pass_app
def splits(app: App, /, task: str, kind: str) -> None:
    """List which clip is in which split of a task.

    The splits are the clips that trained it, that validated it, and that test it. The task's file records the split, so
    clips that came into its folder later are not listed. Clips that are gone or have changed are counted.

    \b
    cl-ast splits birds
    cl-ast splits birds --format csv > splits.csv
    """
    from cl_ast.errors import StreamError
    from cl_ast.tasks.source import split_of
    from cl_ast.terminal.rendering import formats, results, tables, task_page

    with app.registry() as registry:
        version = registry.task(task).version
        try:
            found = split_of(registry, version)
        except StreamError as error:
            raise StreamError(f"the split of {version.task} cannot be listed: {error}") from error
    rows = results.split_rows(found)
    if kind == "json":
        print_json(results.split(version, found))
    elif kind == "csv":
        print_text(formats.as_csv(rows))
    else:
        tables.show(task_page.split(version, found))
    missing = {split: count for split, count in found.missing.items() if count}
    if missing:
        counts = ", ".join(f"{count} {split}" for split, count in missing.items())
        warn(f"clips of {version.task} are gone or have changed since it was trained: {counts}")
        sys.exit(1)
