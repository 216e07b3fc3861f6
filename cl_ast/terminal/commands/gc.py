"""`cl-ast gc`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.confirming import confirm, yes_option
from cl_ast.terminal.output import print_line, warn
from cl_ast.wording import plural, size

if TYPE_CHECKING:
    from registry import GcReport


@click.command("gc")
@click.argument("names", nargs=-1, metavar="[TASK...]")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--empty-trash", is_flag=True, help="Delete everything that is in the trash by now.")
@yes_option
@pass_app
def gc(app: App, /, names: tuple[str, ...], dry_run: bool, empty_trash: bool, yes: bool) -> None:
    """Move old versions and leftovers to the trash.

    \b
    That is: versions that no longer answer, damaged files that no version
    names, and what an interrupted command left. What has been in the trash for
    30 days is deleted, and with --empty-trash all of it but what comes now.
    `cl-ast undo` takes it back until then. On a terminal it asks first.

    \b
    A whole adapter that the database does not know is left where it is, as it
    may be newer than the database. With TASK (a name, or at least 12 digits of
    a SHA-256), only the unknown adapters of these tasks go to the trash.

    \b
    cl-ast gc --dry-run
    """
    with app.registry() as registry:
        if not dry_run:
            confirm(lambda: _question(registry.gc(names, dry_run=True, empty_trash=empty_trash)), yes=yes)
        report = registry.gc(names, dry_run=dry_run, empty_trash=empty_trash)
    for file in (*report.dropped, *report.emptied):
        print_line(f"{file.name}  {file.bytes:,} bytes  {file.why}")
    for unnamed in report.unnamed:
        warn(f"left where it is: {unnamed}")
    print_line(_counted(report))


def _counted(report: GcReport) -> str:
    would = " would be" if report.dry_run else ""
    said = f"{plural(len(report.dropped), 'file')}, {report.bytes:,} bytes{would} moved to the trash"
    if report.dropped and not report.dry_run and not report.undoable:
        said += " (more than `cl-ast undo` can take back)"
    emptied = sum(file.bytes for file in report.emptied)
    return f"{said}; {plural(len(report.emptied), 'file')}, {emptied:,} bytes{would} deleted from the trash"


def _question(report: GcReport) -> str | None:
    """Return what `gc` is about to do, as a question; None where that is nothing."""
    dropped = (
        f"move {plural(len(report.dropped), 'file')} ({size(report.bytes)}) to the trash" if report.dropped else ""
    )
    emptied = f"delete {plural(len(report.emptied), 'file')} in the trash for good" if report.emptied else ""
    both = " and ".join(filter(None, (dropped, emptied)))
    return f"{both[0].upper()}{both[1:]}? `cl-ast gc --dry-run` lists them." if both else None
