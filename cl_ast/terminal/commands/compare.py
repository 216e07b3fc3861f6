"""`cl-ast compare`"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.engines import engine_options, pool_of
from cl_ast.terminal.learning import opened_with
from cl_ast.terminal.learning_options import LearningOptions, load, training_options
from cl_ast.terminal.output import print_json, table_or

if TYPE_CHECKING:
    import streams
    from cl_ast.adapters.spec import MethodSpec
    from cl_ast.cluster.pool import Pool
    from cl_ast.evaluation.comparing import Compared
    from cl_ast.manager import Manager
    from cl_ast.terminal.rendering.progress import ProgressDisplay


@click.command("compare")
@click.argument("task")
@click.option("--methods", "specs", multiple=True, metavar="SPEC...", help="Separated by spaces; may be repeated.")
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Repeats per method; with --few-shot, each draws its own clips.",
)
@click.option("--data", type=click.Path(path_type=Path), help="Where the data set lies.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw accuracy against parameters.")
@engine_options("ray trains on the workers of a Ray cluster, with a GPU each where there are any (extra: ray).")
@training_options
@table_or("json", "csv")
@pass_app
def compare(
    app: App,
    /,
    task: str,
    specs: tuple[str, ...],
    seeds: int,
    data: Path | None,
    plot: Path | None,
    engine: str,
    workers: int | None,
    kind: str,
    options: LearningOptions,
) -> None:
    """Train several methods on one task, side by side.

    Prints accuracy, parameters and time. Nothing is kept in the registry. Without --methods, every row of the table
    but `full`.

    \b
    cl-ast compare path/to/clips --methods "linear lora conformer:k=8" --seeds 3
    cl-ast compare esc50 --data ESC-50-master/ --few-shot 8 --plot methods.png
    cl-ast compare path/to/clips --seeds 5 --engine ray
    """
    from cl_ast.terminal.rendering import tables
    from cl_ast.terminal.rendering.formats import as_csv
    from cl_ast.terminal.rendering.results import compared_row
    from cl_ast.training.distributed import ALONE

    if plot:
        from cl_ast.terminal.rendering.plot import check, draw_methods

        check(plot)
    found: list[Compared] = []
    with (
        pool_of(app, engine, workers) as pool,
        app.progress() as display,
        opened_with(app, options, ALONE, lambda: load(display, task, options, data=data), make=False) as opened,
    ):
        manager, loaded = opened
        methods = _methods(manager, loaded, " ".join(specs).split(), options)
        display.say(f"{loaded.name}: {len(methods)} methods, {seeds} repeats of each; {loaded.protocol}")
        for one in _compared(app, manager, display, loaded, methods, options, seeds, pool):
            if kind == "csv":  # printed at once, because all rows of the table take hours
                display.result(as_csv([compared_row(one)], header=not found))
            found.append(one)
    rows: list[dict[str, Any]] = [one.to_json() for one in found]
    if kind == "json":
        print_json(rows)
    elif kind == "table":
        tables.show(tables.compared(rows))
    if plot:
        draw_methods(rows, plot)


def _methods(manager: Manager, task: streams.Task, specs: list[str], options: LearningOptions) -> list[MethodSpec]:
    """Return the methods to compare; `--from-layer` is for those that have adapters, the others stay beside them."""
    from cl_ast.adapters.spec import parse
    from cl_ast.evaluation.comparing import usual_methods

    table = manager.methods
    methods = [parse(spec, table) for spec in specs] or usual_methods(task, manager.backbone, table)
    if options.from_layer is None:
        return methods
    return [parse(one.text, table, from_layer=options.from_layer) if one.placements else one for one in methods]


def _compared(
    app: App,
    manager: Manager,
    display: ProgressDisplay,
    task: streams.Task,
    methods: list[MethodSpec],
    options: LearningOptions,
    seeds: int,
    pool: Pool | None,
) -> Iterator[Compared]:
    from cl_ast.evaluation.comparing import compare as compare_methods

    return compare_methods(
        task,
        manager.backbone,
        methods,
        options.train,
        seeds=seeds,
        pooling=options.pooling,
        positions=options.positions,
        progress=display,
        say=display.say,
        engine=pool,
        device=app.device,
    )
