"""`cl-ast stats`"""

from __future__ import annotations

from pathlib import Path

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_stats, table_or, without_collections


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
