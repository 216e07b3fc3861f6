"""`cl-ast route`"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line, warn
from cl_ast.wording import plural


@click.command("route")
@click.argument("tasks", nargs=-1, metavar="[TASK...]")
@click.option(
    "--with",
    "clips",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Learn the routing of one TASK from the clips in DIR, labelled or not.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1),
    metavar="X",
    help="From now on a clip is unknown where its p-value is below X: 0 (never), 0.01, 0.02, …  [usual: 0.05]",
)
@click.option(
    "--negatives",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Sounds that are none of the tasks' classes, such as a room's; the router learns to call them unknown.",
)
@click.option("--no-negatives", is_flag=True, help="Leave out the negatives that the tasks have.")
@pass_app
def route(
    app: App,
    /,
    tasks: tuple[str, ...],
    clips: Path | None,
    alpha: float | None,
    negatives: Path | None,
    no_negatives: bool,
) -> None:
    """Rebuild the routing of tasks, or set when a clip is unknown.

    Nothing is trained. It is needed once where another release of cl-ast learned it: `--task auto` then says so. Each
    task gets a new version with the same adapter. A task whose clips are gone answers by name only, until they are
    there again.

    An imported task answers by name only until --with DIR lets the router know it: DIR is a folder of at least 10
    clips that are of its kind. Without --with, clips of a published data set are found by themselves.

    At most 5 % of a task's own clips come out unknown; --alpha sets another limit, and needs no clips when it is given
    alone. --negatives teaches what else there is to hear where the recordings come from. Both are kept when the routing
    is rebuilt later.

    \b
    cl-ast route
    cl-ast route birds
    cl-ast route birds --alpha 0.01
    cl-ast route birds --negatives recordings-without-birds/
    cl-ast route their-birds --with recordings-of-birds/
    """
    if clips is not None and len(tasks) != 1:
        raise click.UsageError("--with needs exactly one TASK: the one that the clips belong to")
    if negatives is not None and no_negatives:
        raise click.UsageError("--negatives and --no-negatives exclude each other")
    from cl_ast.continual.rebuild_routing import Tuning
    from cl_ast.tasks.origin import by_name_only
    from cl_ast.terminal.rendering.task_page import limit_line, negatives_of

    tuning = Tuning(alpha, negatives, no_negatives)
    with app.manager() as manager, app.progress() as display:
        skipped = manager.route(tasks, display, clips=clips, tuning=tuning)
        wanted = [manager.registry.task(name) for name in tasks] or manager.registry.tasks()
    versions = {record.name: record.version for record in wanted}
    done = [version for name, version in versions.items() if name not in skipped]
    if tuning.of_limit_only:
        for version in done:
            print_line(limit_line(version))
    else:
        print_line(f"rebuilt the routing of {plural(len(done), 'task')}")
        for version in done:
            if used := negatives_of(version):
                print_line(f"{version.task}: {used}")
    for name, reason in skipped.items():
        lost = name not in versions or by_name_only(versions[name])
        state = "answers by name only" if lost else "keeps the routing that it has"
        warn(f"{name} {state}: {reason}")
    if skipped:
        sys.exit(1)
