"""`cl-ast compare`"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cl_ast.errors import ClAstError
from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.engines import engine_options, pool_of
from cl_ast.terminal.learning import opened_with
from cl_ast.terminal.learning_options import LearningOptions, load, training_options
from cl_ast.terminal.output import print_json, table_or
from cl_ast.wording import plural

if TYPE_CHECKING:
    import streams
    from cl_ast.experiments.grid import Grid, Sweep
    from cl_ast.manager import Manager
    from cl_ast.terminal.rendering.progress import ProgressDisplay


def _counts(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Read numbers with commas between them, each at least 1."""
    try:
        found = tuple(dict.fromkeys(int(word) for word in (value or "").split(",") if word.strip()))
    except ValueError:
        found = (0,)
    if any(number < 1 for number in found):
        raise click.BadParameter(f"{value!r} are no numbers of clips; give some such as 1,2,4,8")
    return found


def _sweep(_: click.Context, __: click.Parameter, value: str | None) -> Sweep | None:
    """Read an option and its values, such as r=1,2,4."""
    if value is None:
        return None
    from cl_ast.experiments.grid import Sweep

    option, _equals, words = value.partition("=")
    try:
        values = tuple(dict.fromkeys(float(word) for word in words.split(",")))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no option with its values; give one such as r=1,2,4,8") from None
    return Sweep(option.strip(), values)


@click.command("compare")
@click.argument("tasks", nargs=-1, required=True, metavar="TASK...")
@click.option("--methods", "specs", multiple=True, metavar="SPEC...", help="Separated by spaces; may be repeated.")
@click.option(
    "--folds", "--fold", metavar="all|1,2", help="The folds that test, one after another.  [default: the last]"
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Repeats per method and fold; with --few-shot, each draws its own clips.",
)
@click.option("--few-shot", "shots", callback=_counts, metavar="K,K", help="Train on K clips per class, for each K.")
@click.option("--few-shot-first", is_flag=True, help="Take the first K clips by their paths, and draw none.")
@click.option("--sweep", callback=_sweep, metavar="O=N,N", help="Train each method with its option O at each of these.")
@click.option("--data", type=click.Path(path_type=Path), help="Where the data set lies.")
@click.option("--data-root", type=click.Path(path_type=Path), help="The folder that holds the data sets.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep each training in DIR/results.csv, and go on from there.",
)
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw the accuracies, as svg, png or pdf."
)
@engine_options("ray trains on the workers of a Ray cluster, with a GPU each where there are any (extra: ray).")
@training_options
@table_or("json", "csv")
@pass_app
def compare(
    app: App,
    /,
    tasks: tuple[str, ...],
    specs: tuple[str, ...],
    folds: str | None,
    seeds: int,
    shots: tuple[int, ...],
    few_shot_first: bool,
    sweep: Sweep | None,
    data: Path | None,
    data_root: Path | None,
    out: Path | None,
    plot: Path | None,
    engine: str,
    workers: int | None,
    kind: str,
    options: LearningOptions,
) -> None:
    """Train several methods on one task or more, side by side.

    Prints accuracy, parameters and time. Nothing is kept in the registry. Without --methods, every row of the table
    but `full` and those that read a shared part. Each task is trained by its own recipe, as add-task does:
    `conformer` has a kernel of 8 on ESC-50 and of 31 on speech. "±" is the deviation over folds and seeds, "95 %"
    the interval by bootstrap over the test clips, and "Avg" the mean of the tasks.

    With --out every training is a line of results.csv when it is done, and the same command goes on where it was
    stopped. A training that fails is a line with its reason, the others go on, and the same command tries it again.

    --plot draws accuracy against the swept option, else against several K, else against the parameters.

    \b
    cl-ast compare path/to/clips --methods "linear lora conformer:k=8" --seeds 3
    cl-ast compare esc50 us8k --data-root path/to/data --folds all --out results/
    cl-ast compare esc50 --methods "lora linear" --few-shot 1,2,4 --plot few.svg
    cl-ast compare path/to/clips --methods lora --sweep r=1,2,4,8 --plot r.png
    cl-ast compare path/to/clips --seeds 5 --engine ray
    """
    from cl_ast.experiments.running import GridResults, run
    from cl_ast.experiments.summary import averages, compared, ranked
    from cl_ast.terminal.rendering import comparisons, grid_plot, tables
    from cl_ast.terminal.rendering import plot as plots
    from cl_ast.terminal.rendering.formats import as_csv
    from cl_ast.training.distributed import ALONE

    if data is not None and len(tasks) > 1:
        raise click.UsageError("--data is the place of one data set; several are found in --data-root")
    if few_shot_first and not shots:
        raise click.UsageError("--few-shot-first needs --few-shot")
    if plot:
        plots.check(plot)

    def loaded() -> list[streams.Task]:
        return [load(display, task, options, data=data, data_root=data_root) for task in tasks]

    with (
        pool_of(app, engine, workers) as pool,
        app.progress() as display,
        opened_with(app, options, ALONE, loaded, make=False) as (manager, found),
        kept_in(out) as folder,
    ):
        grid = _grid(manager, found, " ".join(specs).split(), folds, seeds, shots, few_shot_first, sweep, options)
        _announce(display, grid)
        with GridResults(folder, grid, manager.backbone) as results:
            for number, line in enumerate(
                run(results, progress=display, say=display.say, engine=pool, device=app.device)
            ):
                if kind == "csv":  # printed at once, because all rows of the table take hours
                    display.result(as_csv([comparisons.csv_row(compared(results, line))], header=not number))
            lines = ranked([compared(results, line) for line in grid.lines()])
            means = averages(results, lines)
    if kind == "json":
        print_json([line.to_json() for line in lines])
    elif kind == "table":
        tables.show(*comparisons.tables(lines, means))
    if all(line.accuracy is None for line in lines):
        raise ClAstError(f"no training was finished: {lines[0].error}")
    if plot:
        grid_plot.draw_grids([(grid, lines)], plot)


@contextmanager
def kept_in(folder: Path | None) -> Iterator[Path]:
    """Yield the folder of the results; without one, a folder that is removed afterwards."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="cl-ast-") as temporary:
        yield Path(temporary)


def _grid(
    manager: Manager,
    tasks: list[streams.Task],
    words: list[str],
    folds: str | None,
    seeds: int,
    shots: tuple[int, ...],
    first_clips: bool,
    sweep: Sweep | None,
    options: LearningOptions,
) -> Grid:
    from cl_ast.experiments.grid import Grid, tasks_by_name, variants_of

    by_name = tasks_by_name(tasks, folds)
    start = options.train.seed
    return Grid(
        tasks=by_name,
        variants=variants_of(
            words, by_name, manager.backbone, manager.session.methods, sweep=sweep, from_layer=options.from_layer
        ),
        seeds=range(start, start + seeds),
        few_shot=shots or (None,),
        first_clips=first_clips,
        options=options.train,
        pooling=options.pooling,
        positions=options.positions,
        sweep=sweep,
    )


def _announce(display: ProgressDisplay, grid: Grid) -> None:
    """Say what is about to be trained."""
    for name, folds in grid.tasks.items():
        trainings = sum(cell.task == name for cell in grid.cells())
        protocol = next(iter(folds.values())).protocol if len(folds) == 1 else f"each of {len(folds)} folds tests"
        display.say(f"{name}: {plural(len(grid.variants), 'method')}, {plural(trainings, 'training')}; {protocol}")
