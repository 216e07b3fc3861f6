"""`cl-ast doctor`"""

from __future__ import annotations

import sys

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_json, table_or


@click.command("doctor")
@table_or("json")
@pass_app
def doctor(app: App, /, kind: str) -> None:
    """Say what is here, and whether it is well.

    Versions, device, memory, caches, backbones, the registry and extras. Nothing is downloaded, and nothing is changed.
    The exit code is 1 where something is unwell; then a line says what to do.

    \b
    cl-ast doctor
    cl-ast doctor --format json
    """
    from cl_ast.terminal import health
    from cl_ast.terminal.rendering import health_page, tables

    findings = health.examine(app)
    well = all(finding.is_well for finding in findings)
    if kind == "json":
        print_json({"well": well, "findings": [finding.to_json() for finding in findings]})
    else:
        tables.show(health_page.health(findings))
    if not well:
        sys.exit(1)
