"""`cl-ast gc`"""

from __future__ import annotations

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line


@click.command("gc")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted.")
@pass_app
def gc(app: App, /, dry_run: bool) -> None:
    """Delete old versions and leftovers (no rollback afterwards).

    That is: files that no version names, and versions that no longer answer.

    \b
    cl-ast gc --dry-run
    """
    with app.registry() as registry:
        report = registry.gc(dry_run=dry_run)
    for file in report.dropped:
        print_line(f"{file.name}  {file.bytes:,} bytes  {file.why}")
    print_line(f"{len(report.dropped)} files, {report.bytes:,} bytes{' would be' if dry_run else ''} deleted")
