"""`cl-ast verify`"""

from __future__ import annotations

import sys

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line, warn
from cl_ast.wording import plural


@click.command("verify")
@pass_app
def verify(app: App, /) -> None:
    """Check that every file is what the database says.

    A registry belongs to one backbone; `cl-ast relearn` trains its tasks again over another.

    \b
    cl-ast verify
    """
    with app.registry() as registry:
        problems = registry.verify()
        count = 0 if problems else len(registry.tasks())
    for problem in problems:
        warn(str(problem))
    if problems:
        sys.exit(1)
    print_line(f"{plural(count, 'task')}, every file as it was written")
