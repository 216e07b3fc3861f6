"""`cl-ast stats`"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_json, print_text, table_or, without_collections


@click.command("stats")
@table_or("json", "csv")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the accuracy of each task over the stream.")
@pass_app
def stats(app: App, /, kind: str, plot: Path | None) -> None:
    """Accuracy matrix, forgetting, routing and storage.

    \b
    cl-ast stats
    cl-ast stats --format json
    cl-ast stats --plot retention.png
    """
    from cl_ast.evaluation.statistics import MOST_SQUARE, outline, report

    if plot is not None:
        from cl_ast.terminal.rendering.plot import check, draw

        check(plot)
    click.get_current_context().with_resource(without_collections())
    with app.registry() as registry:
        overview = registry.overview()
    square = plot is not None or kind == "json" or (kind == "table" and len(overview.tasks) <= MOST_SQUARE)
    found = report(overview) if square else outline(overview)
    print_stats(found, kind)
    if plot is not None:
        draw(found, plot)


def print_stats(report: dict[str, Any], kind: str) -> None:
    """Print what `stats` reports, as a table, JSON or CSV."""
    if kind == "json":
        print_json(report)
    elif kind == "csv":
        from cl_ast.terminal.rendering.formats import as_csv

        print_text(as_csv(report["tasks"]))
    else:
        from cl_ast.terminal.rendering import stats_tables, tables

        tables.show(stats_tables.stats(report))
