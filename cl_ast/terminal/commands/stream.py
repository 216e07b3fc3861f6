"""`cl-ast stream`"""

from __future__ import annotations

from pathlib import Path

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.learning import learn
from cl_ast.terminal.learning_options import LearningOptions, learning_options, load
from cl_ast.terminal.output import print_stats, table_or
from cl_ast.terminal.processes import launched_group


@click.command("stream")
@click.argument("tasks", nargs=-1, required=True, metavar="TASK...")
@click.option("--data-root", type=click.Path(path_type=Path), help="The folder that holds the data sets.")
@learning_options
@table_or("json")
@pass_app
def stream(app: App, /, tasks: tuple[str, ...], data_root: Path | None, kind: str, options: LearningOptions) -> None:
    """Learn several tasks in order, then print the statistics.

    \b
    cl-ast stream dogs/ birds/ commands/ --epochs 20
    cl-ast stream esc50 us8k gsc fsc --data-root path/to/data
    """
    from cl_ast.terminal.rendering import results

    with (
        launched_group(app.device) as group,
        app.manager(options.backbone, options.router, group) as manager,
        app.progress(shown=group.main) as display,
    ):
        # All tasks are loaded first: a word that is wrong should not cost the training before it.
        with group.main_first():
            loaded = [load(display, task, options, data_root=data_root) for task in tasks]
        for task in loaded:
            display.say(results.learned_line(learn(manager, display, task, options)))
        report = manager.stats()
    if group.main:
        print_stats(report, kind)
