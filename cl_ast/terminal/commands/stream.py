"""`cl-ast stream`"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cl_ast.errors import TaskExistsError
from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.commands.stats import print_stats
from cl_ast.terminal.engines import engine_options, pool_of
from cl_ast.terminal.learning import learn_all, opened_with
from cl_ast.terminal.learning_options import LearningOptions, learning_options, load
from cl_ast.terminal.output import table_or, warnings_as_lines
from cl_ast.terminal.processes import launched_group

if TYPE_CHECKING:
    import streams
    from cl_ast.manager import Manager


@click.command("stream")
@click.argument("tasks", nargs=-1, required=True, metavar="TASK...")
@click.option("--data-root", type=click.Path(path_type=Path), help="The folder that holds the data sets.")
@engine_options(
    "ray trains on the workers of a Ray cluster, a task a worker at a time and a GPU each where there are any; "
    "the registry becomes the same (extra: ray)."
)
@learning_options
@table_or("json")
@pass_app
def stream(
    app: App,
    /,
    tasks: tuple[str, ...],
    data_root: Path | None,
    engine: str,
    workers: int | None,
    kind: str,
    options: LearningOptions,
) -> None:
    """Learn several tasks in order, then print the statistics.

    \b
    cl-ast stream dogs/ birds/ commands/ --epochs 20
    cl-ast stream esc50 us8k gsc fsc --data-root path/to/data
    cl-ast stream dogs/ birds/ commands/ --engine ray --workers 2
    """
    from cl_ast.terminal.rendering import results

    with (
        warnings_as_lines(),
        pool_of(app, engine, workers) as pool,
        launched_group(app.device) as group,
        app.progress(shown=group.main) as display,
        # All tasks are loaded first: a word that is wrong should not cost the training before it.
        opened_with(
            app, options, group, lambda: [load(display, task, options, data_root=data_root) for task in tasks]
        ) as opened,
    ):
        manager, loaded = opened
        _check_names(manager, loaded, options)
        for learned in learn_all(app, manager, display, loaded, options, pool):
            display.say(results.learned_line(learned))
        report = manager.stats()
        display.say_total_time()
    if group.main:
        print_stats(report, kind)


def _check_names(manager: Manager, tasks: Sequence[streams.Task], options: LearningOptions) -> None:
    """Raise ClAstError where a task could not be committed, for its name or labels, before the first one is trained."""
    from cl_ast.continual.planning import check_labels

    seen: dict[str, str] = {}
    for task in tasks:
        name = manager.session.free_name(task.name, replace=options.replace)
        check_labels(manager.session, task, name)
        if name.casefold() in seen:
            raise TaskExistsError(
                f"two tasks are called {name}: {seen[name.casefold()]} and {task.source.data}; "
                "add them one by one, with --name for one of them"
            )
        seen[name.casefold()] = task.source.data
