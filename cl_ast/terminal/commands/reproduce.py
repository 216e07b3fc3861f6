"""`cl-ast reproduce`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cl_ast.errors import BackboneError, ClAstError
from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.commands.compare import kept_in
from cl_ast.terminal.engines import engine_options, pool_of
from cl_ast.terminal.output import print_json, print_text, table_or, warn

if TYPE_CHECKING:
    from cl_ast.backbone.backbone import Backbone
    from cl_ast.experiments.papers import Published
    from cl_ast.experiments.reproducing import Beside


@click.command("reproduce")
@click.argument("name", required=False)
@click.option("--list", "listed", is_flag=True, help="List the tables and figures.")
@click.option("--data-root", type=click.Path(path_type=Path), help="The folder that holds the data sets.")
@click.option("--download", is_flag=True, help="Get free data sets that are missing.")
@click.option("--backbone", metavar="B", help="Adapt this backbone.  [default: the paper's]")
@click.option("--quick", is_flag=True, help="Try it: one epoch, one fold, two training clips per class.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep each training in DIR/results.csv, and go on from there.",
)
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw our accuracies as svg, png or pdf.")
@engine_options("ray trains on the workers of a Ray cluster, with a GPU each where there are any (extra: ray).")
@table_or("json", "csv")
@pass_app
def reproduce(
    app: App,
    /,
    name: str | None,
    listed: bool,
    data_root: Path | None,
    download: bool,
    backbone: str | None,
    quick: bool,
    out: Path | None,
    plot: Path | None,
    engine: str,
    workers: int | None,
    kind: str,
) -> None:
    """Repeat a table or figure of the papers.

    Its numbers are printed beside ours. NAME is one that --list shows. The trainings have the papers' recipes and the
    options of their code: a head that starts at random, and no position embeddings. Where a data set is missing, the
    rest is trained, and the reason is printed. With --out the same command goes on where it was stopped; see `cl-ast
    compare --help`.

    With --quick, --data-root may be a folder of your own clips, which take the place of the data sets.

    \b
    cl-ast reproduce --list
    cl-ast reproduce conformer-table-1 --data-root path/to/data --out table-1/
    cl-ast reproduce petl-table-3 --quick --backbone ast-mini --data-root clips/
    """
    from cl_ast.experiments.reproducing import beside, find
    from cl_ast.experiments.reproducing import reproduce as train_all
    from cl_ast.terminal.rendering import grid_plot
    from cl_ast.terminal.rendering import plot as plots

    if listed:
        _list(kind)
        return
    published = _named(name)
    if plot:
        plots.check(plot)
    with pool_of(app, engine, workers) as pool, app.progress() as display, kept_in(out) as folder:
        data = find(published, data_root, quick=quick, download=download)
        for note in data.notes:
            display.say(note)
        for reason in data.missing.values():
            warn(reason)
        if not data.tasks:
            raise ClAstError(
                f"no data set of {published.name} is there; name the folder that has them with --data-root"
            )
        model = _loaded(app, published, backbone)
        found = list(
            train_all(
                published, data, model, folder,
                quick=quick, progress=display, say=display.say, engine=pool, device=app.device,
            )
        )  # fmt: skip
    numbers = beside(published, data, found, quick=quick)
    _print(published, numbers, kind, model.name, quick)
    if plot:
        grid_plot.draw_grids(found, plot)


def _named(name: str | None) -> Published:
    from cl_ast.experiments.papers import PUBLISHED

    if name is None:
        raise click.UsageError("give the NAME of a table or figure; --list shows all")
    if name not in PUBLISHED:
        raise click.UsageError(f"no table or figure is called {name!r}; there are {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


def _loaded(app: App, published: Published, backbone: str | None) -> Backbone:
    """Load the backbone. Raises BackboneError where its weights are missing."""
    from cl_ast.backbone.device import pick_device
    from cl_ast.backbone.pretrained import load

    try:
        return load(backbone or published.backbone, device=pick_device(app.device))
    except BackboneError as error:
        if backbone is not None:
            raise
        raise BackboneError(
            f"{error}; {published.name} adapts {published.backbone}: get its weights, or try --backbone ast-mini"
        ) from None


def _list(kind: str) -> None:
    from cl_ast.experiments.papers import PUBLISHED
    from cl_ast.terminal.rendering import reproductions, tables
    from cl_ast.terminal.rendering.formats import as_csv

    rows = [reproductions.listed_row(one) for one in PUBLISHED.values()]
    if kind == "json":
        print_json(rows)
    elif kind == "csv":
        print_text(as_csv(rows))
    else:
        tables.show(reproductions.listed(rows))


def _print(published: Published, numbers: list[Beside], kind: str, backbone: str, quick: bool) -> None:
    from cl_ast.terminal.rendering import reproductions, tables
    from cl_ast.terminal.rendering.formats import as_csv

    rows = [one.to_json(published.name) for one in numbers]
    if kind == "json":
        print_json(rows)
    elif kind == "csv":
        print_text(as_csv(rows))
    else:
        tables.show(*reproductions.tables(published, numbers, backbone, quick=quick))
