"""`cl-ast rebuild`"""

from __future__ import annotations

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.confirming import confirm, yes_option
from cl_ast.terminal.output import print_line, warn


@click.command("rebuild")
@yes_option
@pass_app
def rebuild(app: App, /, yes: bool) -> None:
    """Make the database again from the adapter files.

    What only the former database knew is lost (measurements, a rollback); it is kept beside the new one. Where there
    is one, it asks first on a terminal.

    \b
    cl-ast rebuild
    """
    from registry import Registry

    confirm(lambda: f"Replace the database of {app.location}? Its measurements will be in the former one only", yes=yes)
    report = Registry.rebuild(app.location)
    for problem in report.skipped:
        warn(f"left out: {problem}")
    print_line(f"{report.tasks} tasks, {report.versions} versions restored")
    if report.backup:
        print_line(f"the former database is kept as {report.backup}")
