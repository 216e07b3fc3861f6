"""`cl-ast remove`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.confirming import confirm, yes_option
from cl_ast.terminal.output import print_line
from cl_ast.wording import plural, size

if TYPE_CHECKING:
    from registry import Registry


@click.command("remove")
@click.argument("task")
@yes_option
@pass_app
def remove(app: App, /, task: str, yes: bool) -> None:
    """Remove a task; other tasks are unaffected.

    On a terminal it asks first.

    \b
    cl-ast remove birds
    """
    with app.registry() as registry:
        confirm(lambda: _question(registry, task), yes=yes)
        registry.remove(task)
    print_line(f"{task} is removed")


def _question(registry: Registry, task: str) -> str:
    record, versions = registry.task(task), registry.versions(task)
    count = plural(len(versions), "version")
    total = size(sum(version.adapter_bytes for version in versions))
    return (
        f'Remove task "{record.name}": {count} ({total}), trained {record.version.created:%Y-%m-%d}, its measurements '
        "and its place in routing? `cl-ast undo` takes it back for 30 days."
    )
