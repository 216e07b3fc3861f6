"""`cl-ast backup`"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line, warn


@click.command("backup")
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path))
@pass_app
def backup(app: App, /, destination: Path) -> None:
    """Copy the registry to a new folder, also while it is in use.

    The copy is the registry at one moment, with every version and measurement; each file is checked while it is
    copied. DEST is then a registry itself, to look at with `--registry DEST` or to put back (docs/registry.md).

    \b
    cl-ast backup backups/2026-11-27
    """
    with app.registry() as registry:
        report = registry.backup(destination)
    for problem in report.problems:
        warn(f"not in the backup: {problem}")
    print_line(
        f"{report.tasks} tasks, {report.versions} versions ({report.bytes:,} bytes) are in {destination}, as they were "
        f"at {report.moment:%Y-%m-%d %H:%M:%S} UTC; use it with --registry {destination}"
    )
    if report.problems:
        sys.exit(1)
