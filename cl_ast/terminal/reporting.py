"""The command that says what became of a stream of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cl_ast.terminal.output import print_json, table_or


@click.command()
@table_or("json", "csv")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the accuracy of each task over the stream.")
@click.pass_obj
def stats(app: Any, /, kind: str, plot: Path | None) -> None:
    """Accuracy matrix, forgetting, routing and storage.

    \b
    cl-ast stats
    cl-ast stats --format json
    cl-ast stats --plot retention.png
    """
    from cl_ast.evaluation.statistics import MOST_SQUARE, outline, report

    with app.registry() as registry:
        overview = registry.overview()
    square = plot is not None or kind == "json" or (kind == "table" and len(overview.tasks) <= MOST_SQUARE)
    told = report(overview) if square else outline(overview)
    print_stats(told, kind)
    if plot is not None:
        from cl_ast.terminal.rendering.plot import draw

        draw(told, plot)


def print_stats(report: dict[str, Any], kind: str) -> None:
    if kind == "json":
        print_json(report)
    elif kind == "csv":
        from cl_ast.terminal.rendering.formats import as_csv

        click.echo(as_csv(report["tasks"]))
    else:
        from cl_ast.terminal.rendering import tables

        tables.show(tables.stats(report))


COMMANDS = (stats,)
