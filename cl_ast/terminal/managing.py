"""The commands that look at a registry and keep it in order; none needs a backbone."""

from __future__ import annotations

import sys
from typing import Any

import click

from cl_ast.terminal.output import print_json, table_or


@click.command("tasks")
@table_or("json")
@click.pass_obj
def list_tasks(app: Any, /, kind: str) -> None:
    """List the tasks, in the order in which they were learned.

    Below them, which tasks the router takes for one another: where the test clips went when they were last measured.

    \b
    cl-ast tasks
    """
    with app.registry() as registry:
        records, nearest = registry.tasks(), registry.nearest()
    if kind == "json":
        from cl_ast.terminal.rendering import records as shapes

        print_json([shapes.listed(record, nearest.get(record.name, ())) for record in records])
        return
    from cl_ast.terminal.rendering import tables

    tables.show(tables.tasks(records), *tables.nearest(nearest))


@click.command("show")
@click.argument("task")
@table_or("json")
@click.pass_obj
def show_task(app: Any, /, task: str, kind: str) -> None:
    """Everything about one task, and its versions.

    \b
    cl-ast show birds
    """
    with app.registry() as registry:
        record, versions = registry.task(task), registry.versions(task)
    if kind == "json":
        from cl_ast.terminal.rendering import records as shapes

        print_json({**shapes.task(record), "versions": [shapes.version(one) for one in versions]})
        return
    from cl_ast.terminal.rendering import tables

    tables.show(tables.task(record, versions))


@click.command("rename")
@click.argument("task")
@click.argument("new_name")
@click.pass_obj
def rename_task(app: Any, /, task: str, new_name: str) -> None:
    """Give a task another name.

    \b
    cl-ast rename birds garden-birds
    """
    with app.registry() as registry:
        click.echo(f"{task} is now called {registry.rename(task, new_name).name}")


@click.command("remove")
@click.argument("task")
@click.pass_obj
def remove_task(app: Any, /, task: str) -> None:
    """Forget a task; every other answers as before.

    \b
    cl-ast remove birds
    """
    with app.registry() as registry:
        registry.remove(task)
    click.echo(f"{task} is removed")


@click.command("rollback")
@click.argument("task")
@click.argument("version", type=click.IntRange(1), required=False)
@click.pass_obj
def roll_back(app: Any, /, task: str, version: int | None) -> None:
    """Let an earlier version of a task answer again.

    Without VERSION, the one before the current. Nothing is deleted.

    \b
    cl-ast rollback birds 1
    """
    with app.registry() as registry:
        click.echo(f"{task} answers with version {registry.rollback(task, version).number} now")


@click.command("verify")
@click.pass_obj
def verify_files(app: Any, /) -> None:
    """Check that every file is what the database says.

    \b
    cl-ast verify
    """
    with app.registry() as registry:
        problems = registry.verify()
        count = len(registry.tasks())
    for problem in problems:
        click.echo(f"cl-ast: {problem}", err=True)
    if problems:
        sys.exit(1)
    click.echo(f"{count} tasks, every file as it was written")


@click.command("gc")
@click.option("--dry-run", is_flag=True, help="Say what would be dropped.")
@click.pass_obj
def collect_garbage(app: Any, /, dry_run: bool) -> None:
    """Drop files and versions that nothing needs.

    That is: files that no version names, and versions that no longer answer.

    \b
    cl-ast gc --dry-run
    """
    with app.registry() as registry:
        report = registry.gc(dry_run=dry_run)
    for file in report.dropped:
        click.echo(f"{file.name}  {file.bytes:,} bytes  {file.why}")
    click.echo(f"{len(report.dropped)} files, {report.bytes:,} bytes{' would be' if dry_run else ''} dropped")


@click.command("rebuild")
@click.pass_obj
def rebuild_database(app: Any, /) -> None:
    """Make the database again from the adapter files.

    \b
    cl-ast rebuild
    """
    from registry import Registry

    report = Registry.rebuild(app.location)
    for problem in report.skipped:
        click.echo(f"cl-ast: left out: {problem}", err=True)
    click.echo(f"{report.tasks} tasks, {report.versions} versions restored")
    if report.backup:
        click.echo(f"the former database is kept as {report.backup}")


COMMANDS = (
    list_tasks,
    show_task,
    rename_task,
    remove_task,
    roll_back,
    verify_files,
    collect_garbage,
    rebuild_database,
)
