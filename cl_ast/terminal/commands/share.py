"""`cl-ast share`"""

from __future__ import annotations

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.interrupting import CtrlC
from cl_ast.terminal.learning_options import LearningOptions, options_of_training_together
from cl_ast.terminal.output import print_json, print_line, table_or, warnings_as_lines


@click.command("share")
@click.argument("name")
@click.option("--tasks", "first", required=True, metavar="TASK...", help="Two tasks of this registry or more.")
@click.argument("others", nargs=-1, metavar="")
@click.option("--method", required=True, help="A method that reads a shared part, such as poly:s=8,r=6.")
@options_of_training_together
@table_or("json")
@pass_app
def share(app: App, /, name: str, first: str, others: tuple[str, ...], kind: str, options: LearningOptions) -> None:
    """Train tensors for several tasks to share.

    They are trained on the clips of these tasks together, and then frozen: the shared part NAME never changes, so what
    tasks answer that read it stays the same. `add-task --share NAME` learns only the few numbers of the task's own, and
    its head. `cl-ast stats` lists the shared parts, and `cl-ast gc` drops those that no task reads.

    \b
    cl-ast share sounds --tasks birds rain engines --method poly:s=8,r=6
    cl-ast add-task path/to/clips --share sounds
    """
    from cl_ast.continual.share import share as made_of
    from cl_ast.terminal.rendering import results

    assert options.method is not None  # click requires it
    ctrl_c = CtrlC()
    with warnings_as_lines(), app.manager() as manager, app.progress() as display, ctrl_c.installed(display.tell):
        made = made_of(
            manager.session,
            name,
            (first, *others),
            options.method,
            options.train,
            progress=ctrl_c.watching(display),
            stop=ctrl_c,
        )
        display.say_total_time()
    if kind == "json":
        print_json(results.shared(made))
    else:
        print_line(results.shared_line(made))
