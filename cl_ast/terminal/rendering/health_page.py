"""Shows what `cl-ast doctor` found: a row for each finding, then what is to be done."""

from collections.abc import Sequence
from itertools import groupby

from rich.console import Group, RenderableType

from cl_ast.terminal.health import Finding
from cl_ast.terminal.output import without_home
from cl_ast.terminal.rendering.layout import Breakable, EscapedTable, line


def health(findings: Sequence[Finding]) -> RenderableType:
    """Return the page, in which `~` stands for the user's folder, since it is pasted into reports."""
    table = EscapedTable.grid(padding=(0, 2))
    for group, members in groupby(findings, lambda finding: finding.group):
        for number, one in enumerate(members):
            title = line("" if number else group, "bold")
            table.add_row(title, one.name, Breakable(without_home(one.found), "" if one.is_well else "yellow"))
    unwell = [finding for finding in findings if not finding.is_well]
    if not unwell:
        return Group(table, "", line("all is well"))
    return Group(
        table,
        "",
        line("what to do", "bold"),
        *(line(without_home(f"  {one.name}: {one.to_do}"), "yellow") for one in unwell),
    )
