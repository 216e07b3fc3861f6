"""`cl-ast relearn`"""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.commands.stats import print_stats
from cl_ast.terminal.learning_options import BACKBONE_PRECISION
from cl_ast.terminal.output import table_or, warn, warnings_as_lines


@click.command("relearn")
@click.argument("tasks", nargs=-1, metavar="[TASK...]")
@click.option("--to", "target", required=True, metavar="PATH|URL", help="The registry to train them in.")
@click.option("--backbone", metavar="B", help="Its backbone, where it is new.  [default: as for any new registry]")
@BACKBONE_PRECISION
@click.option("--method", help="For all of them.  [default: each task's own]")
@table_or("json")
@pass_app
def relearn(
    app: App,
    /,
    tasks: tuple[str, ...],
    target: str,
    backbone: str | None,
    backbone_precision: str | None,
    method: str | None,
    kind: str,
) -> None:
    """Train tasks again in another registry.

    That is the way to a better backbone. Every task (or those named) is trained again from the clips and with the
    options that were recorded, in the same order; this registry stays as it is. A task that the other registry has
    already is left alone, and a training that was stopped goes on, so a stopped run can be started again. Prints the
    other registry's statistics.

    \b
    cl-ast relearn --to better-registry --backbone ast-base
    cl-ast relearn birds rain --to other-registry --method lora:qv,r=8
    """
    from cl_ast.continual.relearn import Skipped
    from cl_ast.terminal.rendering import results

    failed = []
    with warnings_as_lines(), app.manager() as manager, app.progress() as display:
        for name in tasks:  # before the other registry is made
            manager.registry.task(name)
        with replace(app, location=target).manager(backbone, precision=backbone_precision, create=True) as other:
            if manager.registry.place == other.registry.place:
                raise click.UsageError(
                    "--to must name another registry; to train a task again here use add-task --replace"
                )
            for one in manager.relearn(other, tasks, method=method, progress=display):
                if isinstance(one, Skipped):
                    warn(f"{one.task} was not trained again: {one.reason}")
                    failed += [] if one.already_there else [one.task]
                else:
                    display.say(results.learned_line(one))
                    for note in one.notes:
                        display.say(note)
            report = other.stats()
        display.say_total_time()
    print_stats(report, kind)
    if failed:
        sys.exit(1)
