"""`cl-ast backup`"""

from __future__ import annotations

import sys

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line, warn
from cl_ast.wording import plural, size

_MOST_LINES = 50


@click.command("backup")
@click.argument("dest", metavar="DEST")
@pass_app
def backup(app: App, /, dest: str) -> None:
    """Copy the registry to DEST, while it may be in use.

    DEST is a folder, and becomes a registry itself. It is new, empty, or a former backup, to which only what is new is
    copied. Every file is checked. To put a backup back, back it up to the place where it is to be: a new folder, or the
    URL of an empty database and store.

    \b
    cl-ast backup /mnt/disk/my-registry
    cl-ast --registry /mnt/disk/my-registry backup my-new-registry
    """
    with app.registry() as registry, app.progress() as progress:
        report = registry.backup(dest, progress)
    for problem in report.problems[:_MOST_LINES]:
        warn(f"left out: {problem}")
    if len(report.problems) > _MOST_LINES:
        warn(f"left out: {len(report.problems) - _MOST_LINES:,} more")
    print_line(
        f"backed up {plural(report.tasks, 'task')}, {plural(report.versions, 'version')} ({size(report.bytes)}) "
        f"to {report.place}, as of {report.moment.astimezone():%Y-%m-%d %H:%M:%S}"
    )
    if "://" not in dest:
        print_line("use it with --registry, or put it back: cl-ast --registry THIS-FOLDER backup NEW-PLACE")
    if report.former:
        print_line(f"the database of the former backup is kept as {report.former}")
    if report.problems:
        tasks = sorted({problem.task for problem in report.problems if problem.task is not None})
        which = f": see above for {', '.join(tasks[:20])}" if tasks else ""
        warn(f"the backup is not whole{which}")
        sys.exit(1)
