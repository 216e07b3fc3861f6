"""`cl-ast gc`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.confirming import confirm, yes_option

if TYPE_CHECKING:
    from registry import Registry


@click.command("gc")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted.")
@yes_option
@pass_app
def gc(app: App, /, dry_run: bool, yes: bool) -> None:
    """Delete old versions and leftovers (no rollback afterwards).

    That is: files that no version names, and versions that no longer answer. On a terminal it asks first.

    \b
    cl-ast gc --dry-run
    """
    with app.registry() as registry:
        if not dry_run:
            confirm(lambda: _question(registry), yes=yes)
        report = registry.gc(dry_run=dry_run)
    for file in report.dropped:
        click.echo(f"{file.name}  {file.bytes:,} bytes  {file.why}")
    click.echo(f"{len(report.dropped)} files, {report.bytes:,} bytes{' would be' if dry_run else ''} deleted")


def _question(registry: Registry) -> str | None:
    from cl_ast.terminal.rendering.tables import size

    report = registry.gc(dry_run=True)
    if not report.dropped:
        return None
    files = "1 file" if len(report.dropped) == 1 else f"{len(report.dropped)} files"
    former = {(version.task, version.number) for task in registry.tasks() for version in registry.versions(task.name)}
    former -= {(task.name, task.version.number) for task in registry.tasks()}
    some = ", ".join(f"{task} {number}" for task, number in sorted(former)[:3])
    more = f" and {len(former) - 3} more" if len(former) > 3 else ""
    lost = f" `cl-ast rollback` cannot go to these versions afterwards: {some}{more}." if former else ""
    return f"Delete {files} ({size(report.bytes)})? `cl-ast gc --dry-run` lists them.{lost}"
