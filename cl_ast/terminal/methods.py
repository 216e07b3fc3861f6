"""The commands about methods: all of them, and several on one task side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cl_ast.terminal.learning import LearnOptions, load, pooling, recipe_on, training_options
from cl_ast.terminal.output import print_json, table_or

if TYPE_CHECKING:
    from cl_ast.manager import Manager
    from cl_ast.terminal.rendering.progress import Watch


@click.command()
@click.argument("specs", nargs=-1, metavar="[SPEC...]")
@click.option("--backbone", default="ast-base", show_default=True, help="The backbone to count for.")
@click.option("--classes", type=click.IntRange(2), help="Count a head for this many classes where it is stored.")
@table_or("json", "csv")
def methods(specs: tuple[str, ...], backbone: str, classes: int | None, kind: str) -> None:
    """Every method, or these, with its parameters.

    Trainable parameters (of the adapter; `linear` counts its head, given --classes), bytes a task in single precision,
    and the source. Needs no weights.

    \b
    cl-ast methods
    cl-ast methods conformer:houlsby,k=8 lora:qkvo,r=3 --format json
    """
    from cl_ast.adapters.listing import rows
    from cl_ast.adapters.spec import parse
    from cl_ast.backbone.pretrained import sizes

    for spec in specs:
        parse(spec)
    found = rows(specs, *sizes(backbone), classes=classes)
    if kind == "json":
        print_json(found)
    elif kind == "csv":
        from cl_ast.terminal.rendering.formats import as_csv

        click.echo(as_csv(found))
    else:
        from cl_ast.terminal.rendering import tables

        tables.show(tables.methods(found))


@click.command()
@click.argument("task")
@click.option("--methods", "specs", multiple=True, metavar="SPEC...", help="Separated by spaces; may be repeated.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Trainings of each method.")
@click.option("--data", type=click.Path(path_type=Path), help="Where the data set lies.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw accuracy against parameters.")
@training_options
@table_or("json", "csv")
@click.pass_obj
def compare(
    app: Any,
    /,
    task: str,
    specs: tuple[str, ...],
    seeds: int,
    data: Path | None,
    plot: Path | None,
    kind: str,
    options: LearnOptions,
) -> None:
    """Train several methods on one task, side by side.

    Prints accuracy, parameters and time. Nothing is kept in the registry. Without --methods, every row of the table
    but `full`.

    \b
    cl-ast compare path/to/clips --methods "linear lora conformer:k=8" --seeds 3
    cl-ast compare esc50 --data path/to/ESC-50-master --few-shot 8 --plot methods.png
    """
    from cl_ast.terminal.rendering import tables
    from cl_ast.terminal.rendering.formats import as_csv

    rows: list[dict[str, Any]] = []
    with app.manager(options.backbone) as manager, app.watch() as watch:
        for row in _compared(manager, watch, task, " ".join(specs).split(), options, seeds=seeds, data=data):
            if kind == "csv":  # at once: all rows of the table take hours
                words = {**row, "accuracies": " ".join(map(str, row["accuracies"]))}
                watch.result(as_csv([words], header=not rows))
            rows.append(row)
    if plot:
        from cl_ast.terminal.rendering.plot import draw_methods

        draw_methods(rows, plot)
    if kind == "json":
        print_json(rows)
    elif kind == "table":
        tables.show(tables.compared(rows))


def _compared(
    manager: Manager,
    watch: Watch,
    task: str,
    specs: Sequence[str],
    options: LearnOptions,
    *,
    seeds: int,
    data: Path | None = None,
) -> Iterator[dict[str, Any]]:
    """A row a method, when it is done; every row of the table but `full` for no specs."""
    from cl_ast.adapters.spec import parse
    from cl_ast.evaluation.comparing import compare

    table = manager.methods
    methods = [
        parse(spec, table) for spec in specs or [name for name, row in table.items() if row.trains != "backbone"]
    ]
    if options.from_layer is not None:  # of those that have adapters; the others stay to be compared with
        methods = [parse(one.text, table, from_layer=options.from_layer) if one.placements else one for one in methods]
    loaded = load(watch, task, options, data=data)
    watch.say(f"{loaded.name}: {len(methods)} methods, {seeds} trainings of each; {loaded.protocol}")
    found = compare(
        loaded,
        manager.backbone,
        methods,
        options.training(recipe_on(manager, loaded)),
        seeds=seeds,
        pooling=pooling(manager, options),
        positions=options.positions,
        progress=watch,
        say=watch.say,
    )
    return (one.to_json() for one in found)


COMMANDS = (methods, compare)
