"""`cl-ast evaluate`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_json, print_text, table_or, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cl_ast.evaluation.accuracy import Measured
    from cl_ast.evaluation.details import Details
    from cl_ast.evaluation.own_folder import FolderTest
    from cl_ast.evaluation.tag_details import TagDetails


@click.command("evaluate")
@click.argument("tasks", nargs=-1, metavar="[TASK...]")
@click.option("--by-name", is_flag=True, help="Measure with the task named only, and not routed.")
@click.option(
    "--task",
    "mode",
    type=click.Choice(["auto", "oracle"]),
    default="auto",
    help="The same choice as scripts write it: oracle is --by-name.",
)
@click.option("--details", is_flag=True, help="Accuracy of each class, what is taken for what, and the wrong clips.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Measure one TASK on a folder of your own labelled clips; nothing is recorded.",
)
@table_or("json", "csv")
@pass_app
def evaluate(
    app: App, /, tasks: tuple[str, ...], by_name: bool, mode: str, details: bool, data: Path | None, kind: str
) -> None:
    """Measure tasks again on their test clips, and record it.

    Accuracy is measured with the task named and, unless --by-name is given, with the task chosen by the router. A task
    of tags, whose clips may have several labels, has mAP (mean average precision) in its place.

    With --details, also: how many clips of each class are right, with 95 % intervals; which classes are taken for one
    another; and which clips are wrong, or were sent to another task. CSV has one line for each clip.

    With --data, a task, also an imported one, is measured on class folders or a metadata.csv. Labels that the task
    does not know are counted and left out.

    \b
    cl-ast evaluate
    cl-ast evaluate birds --details
    cl-ast evaluate birds --details --format csv > clips.csv
    cl-ast evaluate their-birds --data my-labelled-recordings/
    """
    auto = mode == "auto" and not by_name
    if data is not None:
        if len(tasks) != 1:
            raise click.UsageError("--data needs exactly one TASK: the one that is measured on it")
        with app.manager() as manager, app.progress() as display:
            _print_folder_test(manager.evaluate_on(tasks[0], data, auto=auto, progress=display), details, kind)
        return
    with app.manager() as manager, app.progress() as display:
        measured, skipped = manager.evaluate(tasks, auto=auto, progress=display)
    if details:
        _print_details(measured, kind)
    else:
        _print(measured, kind)
    for name, reason in skipped.items():
        warn(f"{name} could not be measured: {reason}")
    if skipped:
        sys.exit(1)


def _print(measured: Sequence[Measured], kind: str) -> None:
    from cl_ast.terminal.rendering import formats, results, tables

    rows = [results.measured(one) for one in measured]
    if kind == "json":
        print_json(rows)
    elif kind == "csv":
        print_text(formats.as_csv(rows))
    else:
        tables.show(tables.measured(rows))


def _details_of(measured: Measured) -> Details | TagDetails:
    """Return what is behind an accuracy, or behind a mAP."""
    from cl_ast.evaluation.details import Details
    from cl_ast.evaluation.tag_details import TagDetails
    from cl_ast.tasks.kind_names import MAP

    return TagDetails(measured) if measured.metric == MAP else Details(measured)


def _print_details(measured: Sequence[Measured], kind: str) -> None:
    from cl_ast.terminal.rendering import details_page, formats, results, tables

    found = [_details_of(one) for one in measured]
    if kind == "json":
        print_json([{**results.measured(one.measured), **one.to_json()} for one in found])
    elif kind == "csv":
        print_text(formats.as_csv([row for one in found for row in one.rows()]))
    else:
        tables.show(*(details_page.details(one) for one in found))


def _print_folder_test(test: FolderTest, details: bool, kind: str) -> None:
    from cl_ast.terminal.rendering import details_page, formats, results, tables

    found = _details_of(test.measured)
    if kind == "json":
        print_json([results.folder_test(test, found, with_details=details)])
    elif kind == "csv":
        rows = found.rows() if details else [results.folder_test(test, found, with_details=False, flat=True)]
        print_text(formats.as_csv(rows))
    else:
        tables.show(details_page.details(found) if details else details_page.summary(found))
    for line in results.folder_notes(test):
        warn(line)
