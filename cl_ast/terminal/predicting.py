"""The commands that ask: answers for clips, and how many of the test clips are answered right."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cl_ast.terminal.output import print_json, table_or


@click.command()
@click.argument("clips", nargs=-1, required=True, metavar="CLIP...")
@click.option("--task", default="auto", show_default=True, help="A task's name, or auto to let the router choose.")
@click.option("--all", "every", is_flag=True, help="With auto, answer from every task that the clip is known to.")
@click.option("--top-k", type=click.IntRange(1), default=5, show_default=True, help="How many labels.")
@click.option("--window", type=float, help="Answer every window of this many seconds.")
@click.option("--hop", type=float, help="A window every so many seconds. [default: the window]")
@click.option("--backbone", metavar="B", help="Where the registry's backbone lies now, if it has moved.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="ray spreads files over a Ray cluster whose workers all reach the registry and the clips (extra: ray).",
)
@click.option("--workers", type=click.IntRange(1), help="Of the cluster, at most. [default: one a GPU or CPU]")
@table_or("json", "jsonl", "csv", "audacity")
@click.pass_obj
def predict(
    app: Any,
    /,
    clips: tuple[str, ...],
    task: str,
    every: bool,
    top_k: int,
    window: float | None,
    hop: float | None,
    backbone: str | None,
    engine: str,
    workers: int | None,
    kind: str,
) -> None:
    """Answer clips: audio files, folders of them, or - for standard input.

    \b
    cl-ast predict clip.wav
    cl-ast predict clip.wav --all
    cl-ast predict recordings/ --task birds --top-k 1 --format csv
    cl-ast predict long.flac --window 2 --hop 1 --format audacity
    """
    if hop is not None and window is None:
        raise click.UsageError("--hop needs --window")
    if workers is not None and engine == "local":
        raise click.UsageError("--workers needs --engine ray")
    if every and task != "auto":
        raise click.UsageError("--all lets the router choose; leave out --task")
    from cl_ast.inference.prediction import Failure, Prediction, Window
    from cl_ast.terminal.rendering import formats

    cut = None if window is None else Window(window, window if hop is None else hop)
    wanted, empty = _clips(clips)
    for folder in empty:
        click.echo(f"cl-ast: {folder}: no audio files (wav, flac, ogg, mp3) in this folder", err=True)
    answers: list[Prediction] = []
    failed = bool(empty)
    with app.cluster(backbone, workers) if engine == "ray" else app.manager(backbone) as answering:
        for answer in answering.predict(wanted, task=task, top_k=top_k, window=cut, every=every):
            if isinstance(answer, Failure):
                failed = True
                click.echo(f"cl-ast: {answer.error}", err=True)
            elif kind == "jsonl":
                click.echo(formats.as_line(answer))
            else:
                answers.append(answer)
    if kind in ("json", "csv", "audacity"):
        click.echo(formats.predictions(answers, kind))
    elif answers:
        from cl_ast.terminal.rendering import tables

        tables.show(tables.predictions(answers))
    if failed:
        sys.exit(1)


def _clips(given: Sequence[str]) -> tuple[list[Any], list[str]]:
    """Files as they are, folders as the audio files in them, - as standard input; and the folders without any."""
    from cl_ast.audio.reading import SUFFIXES

    wanted: list[Any] = []
    empty = []
    for name in given:
        if name == "-":
            wanted.append(sys.stdin.buffer)
        elif Path(name).is_dir():
            found = sorted(p for p in Path(name).rglob("*") if p.suffix.lower() in SUFFIXES)
            wanted += found
            empty += [] if found else [name]
        else:
            wanted.append(name)
    return wanted, empty


@click.command()
@click.argument("tasks", nargs=-1, metavar="[TASK...]")
@click.option("--task", "mode", type=click.Choice(["auto", "oracle"]), default="auto", show_default=True)
@table_or("json")
@click.pass_obj
def evaluate(app: Any, /, tasks: tuple[str, ...], mode: str, kind: str) -> None:
    """Measure tasks again on their test clips, and record it.

    `--task oracle` asks every task by its name only; `auto` also lets the router choose.

    \b
    cl-ast evaluate
    cl-ast evaluate birds --task oracle
    """
    from cl_ast.terminal.rendering import results as shapes
    from cl_ast.terminal.rendering import tables

    with app.manager() as manager, app.watch() as watch:
        measured, skipped = manager.evaluate(tasks, auto=mode == "auto", progress=watch)
    rows = [shapes.measured(one) for one in measured]
    if kind == "json":
        print_json(rows)
    else:
        tables.show(tables.measured(rows))
    for name, reason in skipped.items():
        click.echo(f"cl-ast: {name} could not be measured: {reason}", err=True)
    if skipped:
        sys.exit(1)


COMMANDS = (predict, evaluate)
