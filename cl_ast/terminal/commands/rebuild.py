"""`cl-ast rebuild`"""

from __future__ import annotations

import click

from cl_ast.errors import CorruptRegistryError
from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.confirming import confirm, yes_option
from cl_ast.terminal.output import print_line, warn
from cl_ast.wording import plural


@click.command("rebuild")
@yes_option
@pass_app
def rebuild(app: App, /, yes: bool) -> None:
    """Make the database again from the adapter files.

    On a terminal it asks before it replaces a database.

    \b
    cl-ast rebuild
    """
    from registry import Registry

    confirm(lambda: _question(app.location), yes=yes)
    report = Registry.rebuild(app.location)
    for problem in report.skipped:
        warn(f"left out: {problem}")
    print_line(f"{plural(report.tasks, 'task')}, {plural(report.versions, 'version')} restored")
    if report.backup:
        print_line(f"the former database is kept as {report.backup}")


def _question(location: str) -> str | None:
    from registry.locations import locate

    database = locate(location).database
    try:
        if database.open() is None:
            return None
    except CorruptRegistryError:
        pass  # it is replaced, too
    return (
        f"Replace the database {database.place} by what the adapter files say? Measurements and rollbacks are lost; "
        "the former database is kept beside the new one."
    )
