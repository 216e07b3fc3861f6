"""`cl-ast baselines`"""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.commands.compare import kept_in
from cl_ast.terminal.engines import engine_options, pool_of
from cl_ast.terminal.learning import opened_with
from cl_ast.terminal.learning_options import LearningOptions, load, shared_training_options
from cl_ast.terminal.output import print_json, print_text, table_or, warnings_as_lines
from cl_ast.wording import plural

if TYPE_CHECKING:
    import streams
    from cl_ast.baselines.run import Setting
    from cl_ast.baselines.scenarios import Stream
    from cl_ast.manager import Manager
    from cl_ast.terminal.rendering.progress import ProgressDisplay

_ALL = "naive joint ncm ranpac ewc lwf er derpp l2p ours"
_SEVERAL = click.IntRange(1)


@click.command("baselines")
@click.argument("tasks", nargs=-1, required=True, metavar="TASK...")
@click.option("--methods", "specs", multiple=True, metavar="SPEC...", help=f"Some of these.  [default: {_ALL}]")
@click.option(
    "--scenario",
    type=click.Choice(["til", "cil", "dil"]),
    default="cil",
    show_default=True,
    help="What is known of a clip: its step (til), nothing (cil); or all steps have the same classes (dil).",
)
@click.option(
    "--steps",
    type=click.IntRange(2),
    metavar="N",
    help="Split one task into N steps.  [default: 5; with dil, one for each fold or speaker]",
)
@click.option("--orders", type=_SEVERAL, default=3, show_default=True, help="Random orders of the steps.")
@click.option("--seeds", type=_SEVERAL, default=3, show_default=True, help="Repeats in each order.")
@click.option("--adapter", metavar="METHOD", help="How the backbone is adapted: see `cl-ast methods`.")
@click.option("--data-root", type=click.Path(path_type=Path), help="The folder that holds the data sets.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep a line a run in DIR/results.csv; the same command goes on there.",
)
@engine_options("ray runs several at once on the workers of a Ray cluster (extra: ray).")
@shared_training_options
@table_or("json", "csv")
@pass_app
def baselines(
    app: App,
    /,
    tasks: tuple[str, ...],
    specs: tuple[str, ...],
    scenario: str,
    steps: int | None,
    orders: int,
    seeds: int,
    adapter: str | None,
    data_root: Path | None,
    out: Path | None,
    engine: str,
    workers: int | None,
    kind: str,
    options: LearningOptions,
) -> None:
    """Learn the same stream in other ways, and set them beside ours.

    One TASK is split by class into steps (dil: by fold or speaker); of several, each is a step. split-esc50,
    split-us8k and split-gsc are those data sets in 5 steps. All ways have the same backbone, adapter and epochs.
    Nothing is kept in the registry.

    \b
    cl-ast baselines path/to/clips --steps 5 --out runs --epochs 5
    cl-ast baselines dogs/ birds/ commands/ --methods "naive er:m=10 joint ours"
    cl-ast baselines split-esc50 --scenario til --data-root path/to/data
    """
    from cl_ast.baselines.comparison import Comparison, summary
    from cl_ast.baselines.run import Runner
    from cl_ast.baselines.scenarios import PRESETS
    from cl_ast.baselines.table import parse
    from cl_ast.terminal.rendering import baseline_tables
    from cl_ast.training.distributed import ALONE

    chosen = [parse(spec) for spec in (" ".join(specs) or _ALL).split()]
    preset = PRESETS.get(tasks[0]) if len(tasks) == 1 else None
    if preset is not None:
        tasks, steps = (preset.task,), steps or (None if scenario == "dil" else preset.steps)
    with ExitStack() as stack:
        stack.enter_context(warnings_as_lines())
        pool = stack.enter_context(pool_of(app, engine, workers))
        display = stack.enter_context(app.progress())
        manager, stream = stack.enter_context(
            opened_with(
                app, options, ALONE, lambda: _stream(display, tasks, options, data_root, scenario, steps), make=False
            )
        )
        setting = _setting(manager, stream, adapter, options)
        folder = stack.enter_context(kept_in(out))
        display.say(
            f"{stream.title}, {scenario}: {plural(len(chosen), 'method')}, {plural(orders, 'order')}, "
            f"{plural(seeds, 'repeat')}; {setting.text}"
        )
        backbone = manager.backbone
        comparison = Comparison(
            stream,
            backbone.fingerprint,
            setting,
            chosen,
            orders=orders,
            seeds=range(options.train.seed, options.train.seed + seeds),
            folder=folder,
        )
        runner = stack.enter_context(
            closing(
                Runner(stream, backbone, setting, progress=display)
                if pool is None
                else Runner(stream, backbone.name, setting, device=app.device)
            )
        )
        lines = summary(comparison.run(runner, pool, display.say), stream.step_count)
    if kind == "json":
        print_json({"stream": stream.title, "scenario": scenario, "steps": stream.step_count, "methods": lines})
    elif kind == "csv":
        from cl_ast.terminal.rendering.formats import as_csv

        print_text(as_csv([baseline_tables.flat(line) for line in lines]))
    else:
        baseline_tables.show_comparison(lines)


def _stream(
    display: ProgressDisplay,
    tasks: tuple[str, ...],
    options: LearningOptions,
    data_root: Path | None,
    scenario: str,
    steps: int | None,
) -> Stream:
    from cl_ast.baselines.scenarios import stream_of

    loaded: list[streams.Task] = [load(display, task, options, data_root=data_root) for task in tasks]
    return stream_of(loaded, scenario, steps)


def _setting(manager: Manager, stream: Stream, adapter: str | None, options: LearningOptions) -> Setting:
    """Return what all runs have in common: what was asked for, and else the recipe of the first task.

    Clips are not changed at random, since a strategy keeps what they were answered with.
    """
    from cl_ast.adapters.spec import owned, parse
    from cl_ast.baselines.run import Setting
    from cl_ast.training.recipes import recipe_for

    recipe = recipe_for(stream.blocks[0].source.task, manager.backbone)
    method = parse(adapter or recipe.method, manager.session.methods, from_layer=options.from_layer)
    owned(method, manager.backbone.shape)  # One that does not fit is refused before any training.
    plain = replace(options.train, frequency_mask=0, time_mask=0)
    return Setting(
        method, recipe.complete(plain, method), options.train.learning_rate, options.pooling or recipe.pooling
    )
