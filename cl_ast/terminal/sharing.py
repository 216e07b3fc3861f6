"""The commands that move a task between registries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("export")
@click.argument("task")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.pass_obj
def export_task(app: Any, /, task: str, folder: Path) -> None:
    """Write a task as a folder of its own, to share.

    DIR is new or empty. It gets the weights, a configuration and a model card; where the method is LoRA, `peft`
    loads it as it is.

    \b
    cl-ast export birds birds-adapter/
    """
    with app.manager() as manager:
        click.echo(f"{task} is in {manager.export(task, folder)}")


@click.command("import")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--name", help="What to call the task. [default: its own name]")
@click.option("--replace", is_flag=True, help="Make it the next version of a task of that name.")
@click.option("--backbone", help="The backbone of a new registry. [default: the adapter's, if it is known]")
@click.pass_obj
def import_task(app: Any, /, folder: Path, name: str | None, replace: bool, backbone: str | None) -> None:
    """Keep a task from a folder that `export` or peft wrote.

    The folder may come from anybody: it is checked whole before anything is kept, and nothing in it is run.

    \b
    cl-ast import birds-adapter/
    cl-ast import birds-adapter/ --name their-birds
    """
    with app.manager(backbone) as manager:
        record = manager.import_(folder, name=name, replace=replace)
    click.echo(f"{record.name} is here as version {record.version.number}, {len(record.labels)} labels")


@click.command("push")
@click.argument("task")
@click.argument("repository")
@click.option("--public", is_flag=True, help="For everybody to see. [default: private]")
@click.pass_obj
def push_task(app: Any, /, task: str, repository: str, public: bool) -> None:
    """Export a task to the Hugging Face hub.

    REPOSITORY is owner/name; it is made if need be, and private unless --public is given. Log in with
    `hf auth login` first.

    \b
    cl-ast push birds me/birds-adapter
    """
    with app.manager() as manager:
        click.echo(f"{task} is at {manager.push(task, repository, public=public)}")


@click.command("pull")
@click.argument("repository")
@click.option("--revision", help="A branch, tag or commit. [default: main]")
@click.option("--name", help="What to call the task. [default: its own name]")
@click.option("--replace", is_flag=True, help="Make it the next version of a task of that name.")
@click.option("--backbone", help="The backbone of a new registry. [default: the adapter's, if it is known]")
@click.pass_obj
def pull_task(
    app: Any, /, repository: str, revision: str | None, name: str | None, replace: bool, backbone: str | None
) -> None:
    """Import a task from the Hugging Face hub; it is trusted as little as any other folder.

    \b
    cl-ast pull someone/birds-adapter --name their-birds
    """
    with app.manager(backbone) as manager:
        record = manager.pull(repository, revision=revision, name=name, replace=replace)
    click.echo(f"{record.name} is here as version {record.version.number}, {len(record.labels)} labels")


COMMANDS = (export_task, import_task, push_task, pull_task)
