"""`cl-ast predict`"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.engines import engine_options
from cl_ast.terminal.output import print_text, table_or, warn, written

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
@click.option("--whole", is_flag=True, help="Of a clip that is longer than its task hears, use the first seconds only.")
@click.option("--backbone", metavar="B", help="Where the registry's backbone lies now, if it has moved.")
@engine_options("ray gives the files to a Ray cluster whose workers all reach the registry and the clips (extra: ray).")
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
    whole: bool,
    backbone: str | None,
    engine: str,
    workers: int | None,
    kind: str,
) -> None:
    """Classify recordings: audio files, folders of them, or - for standard input.

    A recording that is longer than its task hears is cut into windows of that length, and those that sound are joined
    into one answer (the mean of their logits).

    \b
    cl-ast predict clip.wav
    cl-ast predict clip.wav --all
    cl-ast predict recordings/ --task birds --top-k 1 --format csv
    cl-ast predict long.flac --window 2 --hop 1 --format audacity
    """
    query = _query(task, every, top_k, window, hop, whole)
    from cl_ast.audio.windows import Failure
    from cl_ast.terminal.rendering import formats

    wanted, problems = _clips(clips)
    for problem in problems:
        warn(problem)
    answers: list[Prediction] = []
    said: set[str] = set()  # every window of a clip fails in the same words
    failed = bool(problems)
    with app.cluster(backbone, workers) if engine == "ray" else app.manager(backbone) as answering:
        for answer in answering.answer(wanted, query):
            if isinstance(answer, Failure):
                failed = True
                if str(answer.error) not in said:
                    warn(str(answer.error))
                said.add(str(answer.error))
                continue
            for warning in answer.warnings:
                warn(f"{answer.path}: {warning}")
            if kind == "jsonl":
                with written():
                    print_text(formats.as_line(answer))
            else:
                answers.append(answer)
    with written():
        _print(answers, kind)
    if failed:
        sys.exit(1)


def _print(answers: list[Prediction], kind: str) -> None:
    if kind in ("json", "csv", "audacity"):
        from cl_ast.terminal.rendering import formats

        print_text(formats.predictions(answers, kind))
    elif answers:
        from cl_ast.terminal.rendering import tables

        tables.show(tables.predictions(answers))


def _query(task: str, every: bool, top_k: int, window: float | None, hop: float | None, whole: bool) -> Query:
    """Put the query together. Raises click.UsageError for options that do not go together."""
    if hop is not None and window is None:
        raise click.UsageError("--hop needs --window")
    if every and task != "auto":
        raise click.UsageError("--all lets the router choose; leave out --task")
    from cl_ast.audio.windows import Window
    from cl_ast.inference.prediction import Query

    cut = None if window is None else Window(window, window if hop is None else hop)
    return Query(task, top_k, cut, every, whole)


def _clips(given: Sequence[str]) -> tuple[list[AudioInput], list[str]]:
    """Return files as they are, folders as the audio files in them, - as standard input; and what is wrong with some.

    Folders are walked as those that tasks are learned from: hidden files are left out, and links are followed.
    """
    wanted: list[AudioInput] = []
    problems: list[str] = []
    for name in given:
        if not name:
            problems.append("'' is no clip; give a file, a folder, or - for standard input")
        elif name == "-":
            if sys.stdin is None:
                problems.append("standard input: it is closed; give the path of a clip")
            else:
                wanted.append(sys.stdin.buffer)
        elif _is_folder(name):
            found, obstacles = _inside(Path(name))
            wanted += found
            problems += obstacles
        else:
            wanted.append(name)
    return wanted, problems


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # such as a name that is too long; reading it will say so
        return False


def _inside(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the audio files of a folder, sorted, and what is to be said of it."""
    from cl_ast.audio.containers import FORMATS
    from streams.walk import Obstacle, audio_files

    found: list[Path] = []
    problems = []
    for one in audio_files(folder):
        if isinstance(one, Obstacle):
            problems.append(f"{one.path}: cannot be entered ({one.reason}); what is in it is left out")
        else:
            found.append(one)
    if not found and not problems:
        problems.append(f"{folder}: no audio files ({FORMATS}) in this folder")
    return sorted(found), problems
