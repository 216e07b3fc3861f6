"""`cl-ast add-task`"""

from __future__ import annotations

from pathlib import Path

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.learning import foresee, learn, opened_with
from cl_ast.terminal.learning_options import LearningOptions, learning_options, load
from cl_ast.terminal.output import print_json, print_line, table_or, warnings_as_lines
from cl_ast.terminal.processes import launched_group


@click.command("add-task")
@click.argument("task")
@click.option("--data", type=click.Path(path_type=Path), help="Where the data set lies.")
@click.option("--name", help="What to call the task. [default: the data set's or folder's name]")
@click.option("--dry-run", is_flag=True, help="Say what it would take, from a few timed steps; write nothing.")
@learning_options
@table_or("json")
@pass_app
def add_task(
    app: App,
    /,
    task: str,
    data: Path | None,
    name: str | None,
    dry_run: bool,
    kind: str,
    options: LearningOptions,
) -> None:
    """Train one more task, then measure what happened to the others.

    TASK is esc50, us8k, gsc, fsc, iemocap or fsd50k, or a folder of labelled clips: class folders, or a metadata.csv
    with file and label (and split, fold or speaker). Clips may have several labels, as dog;rain. Parts of long
    recordings are clips, too: with start and end in the metadata.csv, or with label files of Audacity or Raven beside
    the recordings. Or TASK is hf:NAME, a data set of the library `datasets`: a folder, or a name on the Hugging Face
    hub.

    \b
    cl-ast add-task path/to/clips --dry-run
    cl-ast add-task path/to/clips --epochs 20
    cl-ast add-task path/to/clips --negatives recordings-without-them/
    cl-ast add-task hf:owner/name --split train/test --label-column category
    cl-ast add-task esc50 --data ESC-50-master/ --method conformer:k=8 --fold 5
    """
    from cl_ast.continual.forecast import Forecast
    from cl_ast.terminal.rendering import forecast_page, results, tables, task_page

    with (
        warnings_as_lines(),
        launched_group(app.device) as group,
        app.progress(shown=group.main) as display,
        opened_with(
            app, options, group, lambda: load(display, task, options, data=data, name=name), make=not dry_run
        ) as opened,
    ):
        manager, loaded = opened
        done = foresee(manager, display, loaded, options) if dry_run else learn(manager, display, loaded, options)
        if not dry_run:
            display.say_total_time()
    if not group.main:
        return
    if isinstance(done, Forecast):
        print_json(done.to_json()) if kind == "json" else tables.show(forecast_page.forecast(done))
    elif kind == "json":
        print_json(results.learned(done))
    else:
        negatives = task_page.negatives_of(done.task.version)
        print_line(results.learned_line(done))
        if negatives:
            print_line(f"negatives: {negatives}")
        if done.measured:
            tables.show("", tables.measured([results.measured(one) for one in done.measured]))
