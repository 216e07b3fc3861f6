"""`cl-ast embed`"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line
from cl_ast.wording import plural

if TYPE_CHECKING:
    from cl_ast.manager import Manager
    from cl_ast.terminal.rendering.progress import ProgressDisplay
    from streams.records import Record


@click.command("embed")
@click.argument("clips", nargs=-1, required=True, metavar="CLIP...|TASK")
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Also by this task's adapter; may be repeated.")
@click.option("--layer", type=click.IntRange(0), metavar="K", help="After K layers; 0 is before the first.  [all]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Where the embeddings go: FILE.npz, or FILE.parquet (extra: embed).",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw their t-SNE maps side by side, as png, svg or pdf (extra: embed).",
)
@click.option("--backbone", metavar="B", help="Where the registry's backbone lies now; without a registry, which one.")
@pass_app
def embed(
    app: App,
    /,
    clips: tuple[str, ...],
    tasks: tuple[str, ...],
    layer: int | None,
    out: Path,
    plot: Path | None,
    backbone: str | None,
) -> None:
    """Write one vector for each clip, such as for a map.

    It is the backbone's; with --task, that of the task's adapter stands beside it. Clips are audio files and folders;
    the labels of class folders or a metadata.csv come along. A task's name stands for the clips that it was learned
    from, with their labels and splits.

    \b
    cl-ast embed recordings/ --out recordings.npz
    cl-ast embed birds --task birds --out birds.npz --plot birds.svg
    cl-ast embed birds --task birds --task frogs --layer 6 --out birds.parquet
    """
    from cl_ast.evaluation import embedding

    embedding.check_file(out)
    if plot:
        from cl_ast.terminal.rendering.map_plot import draw_maps
        from cl_ast.terminal.rendering.plot import check

        check(plot)
    with ExitStack() as stack:
        by_name = len(clips) == 1 and not _is_there(Path(clips[0]))
        manager = stack.enter_context(_manager(app, backbone, stack, needed=bool(tasks) or by_name))
        display = stack.enter_context(app.progress())
        wanted = _of_task(manager, display, clips[0]) if by_name else _of_paths(display, clips)
        if plot:
            embedding.check_map(len(wanted))
        found = embedding.embed(manager.session, wanted, tasks, layer=layer, progress=display)
        if plot:
            maps = [embedding.map_of(one) for one in found.vectors]
            draw_maps(found.names, [clip.label for clip in wanted], maps, plot)
    embedding.write(found, out)
    vectors = f"{plural(len(found.names), 'embedding')} ({', '.join(found.names)})"
    print_line(f"{out}: {vectors} of {plural(len(wanted), 'clip')}, {found.vectors.shape[2]} numbers each")


def _manager(app: App, backbone: str | None, stack: ExitStack, *, needed: bool) -> Manager:
    """Open the registry; where there is none and none is needed, one in a temporary folder takes its place."""
    from dataclasses import replace

    from cl_ast.training.distributed import ALONE

    if needed:
        return app.manager(backbone)
    there = app.manager_if_there(backbone, None, ALONE)
    if there is not None:
        return there
    place = stack.enter_context(tempfile.TemporaryDirectory(prefix="cl-ast-"))
    return replace(app, location=place).manager(backbone, create=True)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a name that is too long
        return False


def _of_task(manager: Manager, display: ProgressDisplay, name: str) -> list[Record]:
    """Return the clips of a task, each with its label and its split."""
    from cl_ast.errors import TaskNotFoundError
    from streams.records import Record

    try:
        split = manager.splits(name)
    except TaskNotFoundError as error:
        raise TaskNotFoundError(f"{name}: there is no such file or folder, and {error}") from None
    missing = sum(split.missing.values())
    if missing:
        display.say(f"{name}: left out {plural(missing, 'clip')} gone or changed since it was trained")
    return [
        Record(clip.path, clip.label, split=which, span=clip.span)
        for which, clips in split.clips.items()
        for clip in clips
    ]


def _of_paths(display: ProgressDisplay, given: tuple[str, ...]) -> list[Record]:
    """Return files and what is in folders, with labels where a folder has them."""
    from cl_ast.errors import ClAstError, StreamError
    from cl_ast.terminal.given import audio_files_in
    from streams.labelled import read_labelled
    from streams.records import Record

    found: list[Record] = []
    for path in map(Path, given):
        if not _is_there(path):
            raise ClAstError(f"{path}: there is no such file or folder; give clips, or the name of one task alone")
        if not path.is_dir():
            found.append(Record(path, ""))
            continue
        try:
            labelled = read_labelled(path)
        except StreamError:  # it has no labels
            inside, problems = audio_files_in(path)
            for problem in problems:
                display.say(problem)
            found += [Record(one, "") for one in inside]
            continue
        for note in labelled.notes:
            display.say(f"{path}: {note}")
        found += [Record(clip.path, clip.label, span=clip.span) for clip in labelled.clips]
    return found
