"""`cl-ast predict`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cl_ast.errors import ClAstError
from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.engines import engine_options
from cl_ast.terminal.given import recordings_in
from cl_ast.terminal.output import print_text, table_or, warn
from cl_ast.terminal.result_file import result_in

if TYPE_CHECKING:
    from cl_ast.audio.windows import Failure
    from cl_ast.inference.prediction import Prediction, Query
    from cl_ast.terminal.rendering.progress import ProgressDisplay


@click.command("predict")
@click.argument("clips", nargs=-1, required=True, metavar="CLIP...")
@click.option("--task", default="auto", show_default=True, help="A task's name, or auto to let the router choose.")
@click.option("--all", "every", is_flag=True, help="With auto, an answer from every task that the clip is known to.")
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1),
    metavar="X",
    help="With auto, a clip is unknown where its p-value is below X: 0 (never), 0.01, …  [default: each task's, 0.05]",
)
@click.option("--top-k", type=click.IntRange(1), default=5, show_default=True, help="How many labels, at least.")
@click.option("--window", type=float, help="Classify every window of this many seconds.")
@click.option("--hop", type=float, help="A window every so many seconds. [default: the window]")
@click.option("--whole", is_flag=True, help="Of a clip that is longer than its task hears, use the first seconds only.")
@click.option("--backbone", metavar="B", help="Where the registry's backbone lies now, if it has moved.")
@engine_options("ray gives the files to a Ray cluster whose workers all reach the registry and the clips (extra: ray).")
@table_or("json", "jsonl", "csv", "audacity", own_output=True)
@pass_app
def predict(
    app: App,
    /,
    clips: tuple[str, ...],
    task: str,
    every: bool,
    alpha: float | None,
    top_k: int,
    window: float | None,
    hop: float | None,
    whole: bool,
    backbone: str | None,
    engine: str,
    workers: int | None,
    kind: str,
    output: Path | None,
) -> None:
    """Classify recordings.

    CLIP is an audio file, a folder of them, or - for standard input. A recording that is longer than its task hears is
    cut into windows of that length, and those that sound are joined into one answer (the mean of their logits).

    Of a task of tags, whose clips may have several labels, every label is said whose probability reaches its threshold:
    0.5, or what `cl-ast tune` found.

    \b
    cl-ast predict clip.wav
    cl-ast predict clip.wav --all
    cl-ast predict clip.wav --alpha 0.01
    cl-ast predict recordings/ --task birds --top-k 1 --format csv
    cl-ast predict day.flac --window 2 --hop 1 --format audacity --output day.txt
    cl-ast predict recordings/ --window 2 --format audacity --output tracks/

    For audacity, neighbouring windows with the same label are one region; of several recordings, --output is a folder
    that gets a track for each.
    """
    query = _query(task, every, top_k, window, hop, alpha, whole)
    wanted, problems = recordings_in(clips)
    for problem in problems:
        warn(problem)
    each = kind == "audacity" and output is not None and (len(wanted) > 1 or output.is_dir())
    with (
        result_in(None if each else output),
        app.cluster(backbone, workers) if engine == "ray" else app.manager(backbone) as answering,
        app.progress(lines=False) as display,
    ):
        found = _Answers(display, len(wanted), kind)
        try:
            for answer in answering.answer(wanted, query):
                found.take(answer)
        except KeyboardInterrupt:
            display.stop()
            _stopped(found, kind, output)
        display.stop()
        _print(found.kept, kind, output if each else None)
        if problems or found.failed:
            sys.exit(1)


class _Answers:
    """Takes the answers as they come: says what failed, prints lines of JSON at once, and keeps all others."""

    def __init__(self, display: ProgressDisplay, total: int, kind: str) -> None:
        self.kept: list[Prediction] = []
        self.done = 0  # recordings
        self.total = total
        self.failed = False
        self._display = display
        self._at_once = kind == "jsonl"
        self._last: str | None = None
        self._said: set[str] = set()  # every window of a clip fails in the same words

    def take(self, answer: Prediction | Failure) -> None:
        from cl_ast.audio.windows import Failure
        from cl_ast.progress import Step
        from cl_ast.terminal.rendering import formats

        if answer.path != self._last:
            self._last = answer.path
            self._display(Step("classifying", self.done, self.total))
            self.done += 1
        if isinstance(answer, Failure):
            self.failed = True
            if str(answer.error) not in self._said:
                warn(str(answer.error))
            self._said.add(str(answer.error))
            return
        for warning in answer.warnings:
            warn(f"{answer.path}: {warning}")
        if self._at_once:
            self._display.result(formats.as_line(answer))
        else:
            self.kept.append(answer)


def _stopped(found: _Answers, kind: str, output: Path | None) -> None:
    """Print what was answered before Ctrl-C, but not to a file, which has all or nothing; and end with 1."""
    if output is None:
        _print(found.kept, kind, None)
    left = "" if output is None else f"; {output} is not written"
    warn(f"stopped: {found.done} of {found.total} recordings were answered{left}")
    raise click.exceptions.Exit(1)


def _print(answers: list[Prediction], kind: str, folder: Path | None) -> None:
    if kind == "audacity":
        _print_tracks(answers, folder)
    elif kind in ("json", "csv"):
        from cl_ast.terminal.rendering import formats

        print_text(formats.predictions(answers, kind))
    elif answers:
        from cl_ast.terminal.rendering import tables

        tables.show(tables.predictions(answers))


def _print_tracks(answers: list[Prediction], folder: Path | None) -> None:
    """Print Audacity's label track, or write one for each recording into a folder."""
    from cl_ast.terminal.rendering import audacity

    if folder is None:
        print_text(audacity.track(answers))
        if len({answer.path for answer in answers}) > 1:
            warn("this is one track of several recordings; --output DIR writes one for each")
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ClAstError(f"{folder}: cannot be made ({error.strerror}); name another folder") from None
    for name, text in audacity.tracks(answers).items():
        with result_in(folder / name):
            print_text(text)


def _query(
    task: str, every: bool, top_k: int, window: float | None, hop: float | None, alpha: float | None, whole: bool
) -> Query:
    """Put the query together. Raises click.UsageError for options that do not go together."""
    if hop is not None and window is None:
        raise click.UsageError("--hop needs --window")
    if every and task != "auto":
        raise click.UsageError("--all lets the router choose; leave out --task")
    if alpha is not None and task != "auto":
        raise click.UsageError("--alpha is for the router; leave out --task")
    from cl_ast.audio.windows import Window
    from cl_ast.inference.prediction import Query

    cut = None if window is None else Window(window, window if hop is None else hop)
    return Query(task, top_k, cut, every, alpha, whole)
