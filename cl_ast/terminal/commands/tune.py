"""`cl-ast tune`"""

from __future__ import annotations

from pathlib import Path

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.event_options import window_options
from cl_ast.terminal.output import note, print_json, print_text, table_or, warn
from cl_ast.wording import some_of


@click.command("tune")
@click.argument("task")
@click.option(
    "--background",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Recordings of the place in which none of the classes sounds; half an hour or more.",
)
@click.option("--false-alarms-per-hour", type=float, metavar="X", help="At most X false events an hour of each class.")
@click.option("--precision", type=float, metavar="P", help="At least this share of the detections of each class right.")
@window_options
@click.option("--backbone", metavar="B", help="Where the registry's backbone lies now, if it has moved.")
@table_or("json", "csv")
@pass_app
def tune(
    app: App,
    /,
    task: str,
    background: Path,
    false_alarms_per_hour: float | None,
    precision: float | None,
    window: float | None,
    hop: float | None,
    timeline: bool,
    backbone: str | None,
    kind: str,
) -> None:
    """Choose at which score the events of each class begin.

    `cl-ast events` and `cl-ast listen` use it for TASK. Each class gets the lowest threshold that reaches the goal, so
    that as much as possible is found. False events are counted in the background. The validation clips of the task say
    how much of a class is still found and, for --precision, which clips of other classes are taken for it. The events
    are those of the usual settings; give --window, --hop and --timeline here if you give them to `events`.

    The thresholds are a new version of the task with the same adapter: `cl-ast show` has them, `cl-ast undo` or
    `rollback` takes them back, and `events --on` overrules them.

    \b
    cl-ast tune birds --background nights-without-birds/ --false-alarms-per-hour 1
    cl-ast tune birds --background nights-without-birds/ --precision 0.95
    """
    if (false_alarms_per_hour is None) == (precision is None):
        raise click.UsageError("give either --false-alarms-per-hour or --precision")
    from cl_ast.continual.tune import Goal
    from cl_ast.continual.tune import tune as tuned_to
    from cl_ast.terminal.rendering import formats, tables, thresholds_page

    goal = Goal(false_alarms_per_hour, precision)
    with app.manager(backbone) as manager, app.progress() as display:
        record = manager.registry.task(task)
        found = tuned_to(manager.session, record, background, goal, display, window=window, hop=hop, timeline=timeline)
    if kind == "json":
        print_json({"task": record.name, **found.to_json(), "unreached": list(found.unreached)})
    elif kind == "csv":
        print_text(formats.as_csv(thresholds_page.rows(found.to_json())))
    else:
        tables.show(thresholds_page.table(found.to_json()))
    if false_alarms_per_hour is not None and 0 < false_alarms_per_hour * found.hours < 1:
        note(
            f"{found.hours:.2g} h of background cannot tell {false_alarms_per_hour:g} an hour from none, so no false "
            f"event was allowed; {1 / false_alarms_per_hour:.3g} h or more would do"
        )
    if found.unreached:
        warn(f"no threshold is high enough for {some_of(found.unreached, 5)}; events of them begin at a score of 1")
