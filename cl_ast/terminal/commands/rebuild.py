"""`cl-ast rebuild`"""

from __future__ import annotations

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import warn


@click.command("rebuild")
@pass_app
def rebuild(app: App, /) -> None:
    """Make the database again from the adapter files.

    \b
    cl-ast rebuild
    """
    from registry import Registry

    report = Registry.rebuild(app.location)
    for problem in report.skipped:
        warn(f"left out: {problem}")
    click.echo(f"{report.tasks} tasks, {report.versions} versions restored")
    if report.backup:
        click.echo(f"the former database is kept as {report.backup}")
