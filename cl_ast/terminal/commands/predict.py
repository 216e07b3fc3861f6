"""`cl-ast predict`"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import table_or

if TYPE_CHECKING:
    from cl_ast.audio.reading import AudioInput
    from cl_ast.inference.prediction import Prediction, Query


@click.command("predict")
@click.argument("clips", nargs=-1, required=True, metavar="CLIP...")
@click.option("--task", default="auto", show_default=True, help="A task's name, or auto to let the router choose.")
@click.option("--all", "every", is_flag=True, help="With auto, an answer from every task that the clip is known to.")
@click.option("--top-k", type=click.IntRange(1), default=5, show_default=True, help="How many labels.")
@click.option("--window", type=float, help="Classify every window of this many seconds.")
@click.option("--hop", type=float, help="A window every so many seconds. [default: the window]")
@click.option("--backbone", metavar="B", help="Where the registry's backbone lies now, if it has moved.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="ray gives the files to a Ray cluster whose workers all reach the registry and the clips (extra: ray).",
)
@click.option("--workers", type=click.IntRange(1), help="Of the cluster, at most. [default: one a GPU or CPU]")
@table_or("json", "jsonl", "csv", "audacity")
@pass_app
def predict(
    app: App,
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
    """Classify recordings: audio files, folders of them, or - for standard input.

    \b
    cl-ast predict clip.wav
    cl-ast predict clip.wav --all
    cl-ast predict recordings/ --task birds --top-k 1 --format csv
    cl-ast predict long.flac --window 2 --hop 1 --format audacity
    """
    if workers is not None and engine == "local":
        raise click.UsageError("--workers needs --engine ray")
    query = _query(task, every, top_k, window, hop)
    from cl_ast.audio.windows import Failure
    from cl_ast.terminal.rendering import formats

    wanted, empty = _clips(clips)
    for folder in empty:
        click.echo(f"cl-ast: {folder}: no audio files (wav, flac, ogg, mp3) in this folder", err=True)
    answers: list[Prediction] = []
    failed = bool(empty)
    with app.cluster(backbone, workers) if engine == "ray" else app.manager(backbone) as answering:
        for answer in answering.answer(wanted, query):
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


def _query(task: str, every: bool, top_k: int, window: float | None, hop: float | None) -> Query:
    """Put the query together. Raises click.UsageError for options that do not go together."""
    if hop is not None and window is None:
        raise click.UsageError("--hop needs --window")
    if every and task != "auto":
        raise click.UsageError("--all lets the router choose; leave out --task")
    from cl_ast.audio.windows import Window
    from cl_ast.inference.prediction import Query

    cut = None if window is None else Window(window, window if hop is None else hop)
    return Query(task, top_k, cut, every)


def _clips(given: Sequence[str]) -> tuple[list[AudioInput], list[str]]:
    """Return files as they are, folders as the audio files in them, - as standard input; and folders without any."""
    from cl_ast.audio.reading import SUFFIXES

    wanted: list[AudioInput] = []
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
