"""`cl-ast report`"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from cl_ast.errors import ClAstError
from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line, print_text, warn
from cl_ast.terminal.result_file import result_in


@click.command("report")
@click.argument("places", nargs=-1, required=True, metavar="[REGISTRY|DIR] OUT.html")
@click.option(
    "--joint",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Show what `cl-ast baselines --methods joint --out DIR` reached on the same tasks.",
)
@click.option("--with-audio", is_flag=True, help="Embed the clips that are most confidently wrong, to be listened to.")
@pass_app
def report(app: App, /, places: tuple[str, ...], joint: Path | None, with_audio: bool) -> None:
    """Put a registry on one page, to show to others.

    The page has accuracy, forgetting, routing, calibration and mistakes. Every task is measured on its test clips;
    nothing is recorded. The page stands alone, in one file without scripts, and results.csv beside it has every number.
    It names tasks, labels, and the files of a few clips that it shows; no folder, user or machine. Needs matplotlib:
    pip install 'cl-ast[plot]'.

    DIR is a folder that `cl-ast compare`, `reproduce` or `baselines` has written with --out. Its page has the tables,
    and for `baselines` the accuracy and the forgetting after each step.

    \b
    cl-ast report report.html
    cl-ast report my-registry out/report.html --with-audio
    cl-ast report my-registry report.html --joint runs/
    cl-ast report results/ comparison.html
    """
    *source, out = places
    page = Path(out)
    if len(source) > 1:
        raise click.UsageError("a report is on one REGISTRY or DIR, and OUT.html comes last")
    if page.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"{out}: the report is a page; give the file the ending .html, and name it last")
    from cl_ast.reporting.recorded import is_results  # after what is refused at once

    if source and is_results(Path(source[0])):
        if with_audio or joint is not None:
            raise click.UsageError("--with-audio and --joint are for a registry, and this is a folder of results")
        _report_results(Path(source[0]), page)
    else:
        _report_registry(replace(app, location=source[0]) if source else app, page, with_audio, joint)


def _report_results(folder: Path, page: Path) -> None:
    from cl_ast.reporting.page import results_page

    with result_in(page):
        print_text(results_page(folder))
    print_line(f"wrote {page}")


def _report_registry(app: App, page: Path, with_audio: bool, joint: Path | None) -> None:
    from cl_ast.experiments.results import FILE

    table = page.with_name(FILE)
    _refuse_another_table(table)
    with result_in(page):
        with result_in(table):
            text, rows, skipped = _made(app, with_audio, joint)
            print_text(rows)
        print_text(text)
    print_line(f"wrote {page}, and its numbers to {table}")
    for name, reason in skipped.items():
        warn(f"{name} could not be measured: {reason}")


def _made(app: App, with_audio: bool, joint: Path | None) -> tuple[str, str, dict[str, str]]:
    """Return the page, the table, and the tasks that could not be measured with the reason."""
    from cl_ast.reporting import figures
    from cl_ast.reporting.findings import gather
    from cl_ast.reporting.page import page
    from cl_ast.reporting.rows import rows
    from cl_ast.terminal.rendering.formats import as_csv

    figures.check()
    with app.manager() as manager, app.progress() as display:
        findings = gather(manager, with_audio=with_audio, joint=joint, progress=display)
    return page(findings), as_csv(rows(findings)), dict(findings.skipped)


def _refuse_another_table(path: Path) -> None:
    """Raise ClAstError where writing the table would replace the results of another command."""
    from cl_ast.reporting.recorded import columns_in
    from cl_ast.reporting.rows import COLUMNS

    if path.is_file() and columns_in(path.parent) not in ((), COLUMNS):
        raise ClAstError(
            f"{path}: these are results of another command, and the table of the report has that name; write the "
            "report to another folder"
        )
