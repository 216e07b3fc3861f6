"""`cl-ast rebuild`"""

from __future__ import annotations

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line, warn


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
    print_line(f"{report.tasks} tasks, {report.versions} versions restored")
    if report.backup:
        print_line(f"the former database is kept as {report.backup}")
