"""The command line: parse, call one method of the library, print.

Nothing heavier than click is imported until a command needs it.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cl_ast.errors import ClAstError
from cl_ast.terminal import managing, routing, sharing
from cl_ast.terminal.learning import LearnOptions, learn, learning_options, load, training_options
from cl_ast.terminal.printing import print_json, table_or
from cl_ast.terminal.together import together

if TYPE_CHECKING:
    from cl_ast.group import Group
    from cl_ast.manager import Manager
    from cl_ast.spread import Cluster
    from cl_ast.terminal.watching import Watch
    from registry import Registry

REGISTRY_VARIABLE = "CL_AST_REGISTRY"


@dataclass(frozen=True)
class App:
    """The global options."""

    location: str
    device: str
    quiet: bool
    verbose: bool

    def manager(self, backbone: str | None = None, router: str | None = None, group: Group | None = None) -> Manager:
        from cl_ast.group import ALONE
        from cl_ast.manager import Manager

        group = group or ALONE
        return Manager.open(self.location, backbone=backbone, device=self.device, router=router, group=group)

    def cluster(self, backbone: str | None, workers: int | None) -> Cluster:
        from cl_ast.spread import Cluster, Place

        return Cluster(Place(self.location, backbone, self.device, Path.cwd()), workers)

    def registry(self) -> Registry:
        from registry import Registry

        return Registry.open(self.location)

    def watch(self, *, shown: bool = True) -> Watch:
        from cl_ast.terminal.watching import Watch

        return Watch(quiet=self.quiet or not shown)


class Commands(click.Group):
    """A group whose commands end with one clear line: 0 done, 1 could not, 2 wrong usage."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, click.ClickException, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            reason = _reason(error)
            if ctx.params.get("verbose"):
                traceback.print_exc()
        click.echo(f"cl-ast: {reason}", err=True)
        raise click.exceptions.Exit(1)


def _reason(error: BaseException) -> str:
    if isinstance(error, ClAstError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "stopped; the registry holds every finished task, and nothing half-written"
    return f"unexpected {type(error).__name__}: {error}; run again with -v for the traceback"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--registry",
    "location",
    envvar=REGISTRY_VARIABLE,
    metavar="PATH|URL",
    help="Folder of the registry, made on first use, or a URL (docs/registry.md). "
    f"[env: {REGISTRY_VARIABLE}; default: the user data folder]",
)
@click.option("--device", default="auto", type=click.Choice(["auto", "cpu", "cuda", "mps"]), show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("-v", "--verbose", is_flag=True, help="Tracebacks of errors.")
@click.version_option(package_name="cl-ast")
@click.pass_context
def main(ctx: click.Context, location: str | None, device: str, quiet: bool, verbose: bool) -> None:
    """Teach one frozen Audio Spectrogram Transformer many audio tasks, and forget none.

    \b
    cl-ast add-task path/to/labelled-clips
    cl-ast predict clip.wav --task auto
    cl-ast stats
    """
    ctx.obj = App(location or _user_folder(), device, quiet, verbose)


for _command in (*managing.COMMANDS, *routing.COMMANDS, *sharing.COMMANDS):
    main.add_command(_command)


def _user_folder() -> str:
    import platformdirs

    return str(Path(platformdirs.user_data_dir("cl-ast")) / "registry")


@main.command("add-task")
@click.argument("task")
@click.option("--data", type=click.Path(path_type=Path), help="Where the data set lies.")
@click.option("--name", help="What to call the task. [default: the data set's or folder's name]")
@learning_options
@table_or("json")
@click.pass_obj
def add_task(app: App, /, task: str, data: Path | None, name: str | None, kind: str, options: LearnOptions) -> None:
    """Train one more task, then measure what happened to the others.

    TASK is esc50, us8k, gsc, fsc or iemocap, or a folder of labelled clips: class folders, or a metadata.csv
    with file and label (and split, fold or speaker).

    \b
    cl-ast add-task path/to/clips --epochs 20
    cl-ast add-task esc50 --data path/to/ESC-50-master --method conformer:k=8 --fold 5
    """
    from cl_ast.terminal import shapes, tables

    with (
        together(app.device) as group,
        app.manager(options.backbone, options.router, group) as manager,
        app.watch(shown=group.main) as watch,
    ):
        with group.main_first():
            loaded = load(watch, task, options, data=data, name=name)
        learned = learn(manager, watch, loaded, options)
    if not group.main:
        return
    if kind == "json":
        print_json(shapes.learned(learned))
        return
    tables.show(shapes.learned_line(learned))
    if learned.measured:
        tables.show("", tables.measured([shapes.measured(one) for one in learned.measured]))


@main.command()
@click.argument("tasks", nargs=-1, required=True, metavar="TASK...")
@click.option("--data-root", type=click.Path(path_type=Path), help="The folder that holds the data sets.")
@learning_options
@table_or("json")
@click.pass_obj
def stream(app: App, /, tasks: tuple[str, ...], data_root: Path | None, kind: str, options: LearnOptions) -> None:
    """Learn several tasks in order, then print the statistics.

    \b
    cl-ast stream dogs/ birds/ commands/ --epochs 20
    cl-ast stream esc50 us8k gsc fsc --data-root path/to/data
    """
    from cl_ast.terminal import shapes

    with (
        together(app.device) as group,
        app.manager(options.backbone, options.router, group) as manager,
        app.watch(shown=group.main) as watch,
    ):
        # All of them first: a word that is wrong should not cost the training before it.
        with group.main_first():
            loaded = [load(watch, task, options, data_root=data_root) for task in tasks]
        for task in loaded:
            watch.say(shapes.learned_line(learn(manager, watch, task, options)))
        report = manager.stats()
    if group.main:
        _print_stats(report, kind)


@main.command()
@click.argument("clips", nargs=-1, required=True, metavar="CLIP...")
@click.option("--task", default="auto", show_default=True, help="A task's name, or auto to let the router choose.")
@click.option("--all", "every", is_flag=True, help="With auto, answer from every task that the clip is known to.")
@click.option("--top-k", type=click.IntRange(1), default=5, show_default=True, help="How many labels.")
@click.option("--window", type=float, help="Answer every window of this many seconds.")
@click.option("--hop", type=float, help="A window every so many seconds. [default: the window]")
@click.option("--backbone", metavar="B", help="Where the registry's trunk lies now, if it has moved.")
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
    from cl_ast.prediction import Failure, Prediction, Window
    from cl_ast.terminal import formats

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
        from cl_ast.terminal import tables

        tables.show(tables.predictions(answers))
    if failed:
        sys.exit(1)


def _clips(given: Sequence[str]) -> tuple[list[Any], list[str]]:
    """Files as they are, folders as the audio files in them, - as standard input; and the folders without any."""
    from cl_ast.audio import SUFFIXES

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


@main.command()
@click.argument("tasks", nargs=-1, metavar="[TASK...]")
@click.option("--task", "mode", type=click.Choice(["auto", "oracle"]), default="auto", show_default=True)
@table_or("json")
@click.pass_obj
def evaluate(app: App, /, tasks: tuple[str, ...], mode: str, kind: str) -> None:
    """Measure tasks again on their test clips, and record it.

    `--task oracle` asks every task by its name only; `auto` also lets the router choose.

    \b
    cl-ast evaluate
    cl-ast evaluate birds --task oracle
    """
    from cl_ast.terminal import shapes, tables

    with app.manager() as manager, app.watch() as watch:
        measured, skipped = manager.evaluate(tasks, auto=mode == "auto", report=watch)
    rows = [shapes.measured(one) for one in measured]
    if kind == "json":
        print_json(rows)
    else:
        tables.show(tables.measured(rows))
    for name, reason in skipped.items():
        click.echo(f"cl-ast: {name} could not be measured: {reason}", err=True)
    if skipped:
        sys.exit(1)


@main.command()
@table_or("json", "csv")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the accuracy of each task over the stream.")
@click.pass_obj
def stats(app: App, /, kind: str, plot: Path | None) -> None:
    """Accuracy matrix, forgetting, routing and storage.

    \b
    cl-ast stats
    cl-ast stats --format json
    cl-ast stats --plot retention.png
    """
    from cl_ast.stats import MOST_SQUARE, outline, report

    with app.registry() as registry:
        overview = registry.overview()
    square = plot is not None or kind == "json" or (kind == "table" and len(overview.tasks) <= MOST_SQUARE)
    told = report(overview) if square else outline(overview)
    _print_stats(told, kind)
    if plot is not None:
        from cl_ast.terminal.plot import draw

        draw(told, plot)


def _print_stats(report: dict[str, Any], kind: str) -> None:
    if kind == "json":
        print_json(report)
    elif kind == "csv":
        from cl_ast.terminal.formats import as_csv

        click.echo(as_csv(report["tasks"]))
    else:
        from cl_ast.terminal import tables

        tables.show(tables.stats(report))


@main.command()
@click.argument("specs", nargs=-1, metavar="[SPEC...]")
@click.option("--backbone", default="ast-base", show_default=True, help="The trunk to count for.")
@click.option("--classes", type=click.IntRange(2), help="Count a head for this many classes where it is stored.")
@table_or("json", "csv")
def methods(specs: tuple[str, ...], backbone: str, classes: int | None, kind: str) -> None:
    """Every method, or these, with its parameters.

    Trainable parameters (of the adapter; `linear` counts its head, given --classes), bytes a task in single precision,
    and the source. Needs no weights.

    \b
    cl-ast methods
    cl-ast methods conformer:houlsby,k=8 lora:qkvo,r=3 --format json
    """
    from cl_ast.adapters.listing import rows
    from cl_ast.adapters.spec import parse
    from cl_ast.checkpoints import sizes

    for spec in specs:
        parse(spec)
    found = rows(specs, *sizes(backbone), classes=classes)
    if kind == "json":
        print_json(found)
    elif kind == "csv":
        from cl_ast.terminal.formats import as_csv

        click.echo(as_csv(found))
    else:
        from cl_ast.terminal import tables

        tables.show(tables.methods(found))


@main.command()
@click.argument("task")
@click.option("--methods", "specs", multiple=True, metavar="SPEC...", help="Separated by spaces; may be repeated.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Trainings of each method.")
@click.option("--data", type=click.Path(path_type=Path), help="Where the data set lies.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw accuracy against parameters.")
@training_options
@table_or("json", "csv")
@click.pass_obj
def compare(
    app: App,
    /,
    task: str,
    specs: tuple[str, ...],
    seeds: int,
    data: Path | None,
    plot: Path | None,
    kind: str,
    options: LearnOptions,
) -> None:
    """Train several methods on one task, side by side.

    Prints accuracy, parameters and time. Nothing is kept in the registry. Without --methods, every row of the table
    but `full`.

    \b
    cl-ast compare path/to/clips --methods "linear lora conformer:k=8" --seeds 3
    cl-ast compare esc50 --data path/to/ESC-50-master --few-shot 8 --plot methods.png
    """
    from cl_ast.terminal import tables
    from cl_ast.terminal.comparison import compare_methods
    from cl_ast.terminal.formats import as_csv

    rows: list[dict[str, Any]] = []
    with app.manager(options.backbone) as manager, app.watch() as watch:
        for row in compare_methods(manager, watch, task, " ".join(specs).split(), options, seeds=seeds, data=data):
            if kind == "csv":  # at once: all rows of the table take hours
                words = {**row, "accuracies": " ".join(map(str, row["accuracies"]))}
                watch.result(as_csv([words], header=not rows))
            rows.append(row)
    if plot:
        from cl_ast.terminal.plot import draw_methods

        draw_methods(rows, plot)
    if kind == "json":
        print_json(rows)
    elif kind == "table":
        tables.show(tables.compared(rows))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("cl-ast-demo"), metavar="[DIR]")
@click.pass_obj
def demo(app: App, /, folder: Path) -> None:
    """The whole story in minutes, offline.

    Three small tasks are made, learned and asked on the CPU; clips and registry stay in DIR (cl-ast-demo/). A second
    time it starts again, unless you have taught its registry something of yours.

    \b
    cl-ast demo
    """
    from cl_ast import demo as story
    from cl_ast.checkpoints import MINI
    from cl_ast.manager import Manager
    from cl_ast.prediction import Prediction
    from cl_ast.terminal import shapes, tables

    home = folder / "registry"
    story.make_room(home)
    tables.show("Three small tasks, made here, learned one after another over ast-mini, the trunk in the package.", "")
    folders = story.make_clips(folder / "clips")
    with Manager.open(home, backbone=MINI, device="cpu") as manager, app.watch() as watch:
        for learned in story.learn_all(manager, folders, watch):
            tables.show(shapes.learned_line(learned))
        asked = [*story.clips_to_ask(folders), *story.make_strangers(folder / "strangers")]
        asked = [Path(os.path.relpath(clip)) for clip in asked]
        answers = [a for a in manager.predict(asked, top_k=2) if isinstance(a, Prediction)]
        report = manager.stats()
    tables.show("", "Clips that no task has seen, and two that belong to none: cl-ast predict … --task auto", "")
    tables.show(tables.predictions(answers))
    tables.show("", "What is kept of each task, and what was forgotten: cl-ast stats", "")
    tables.show(tables.stats(report))
    tables.show("", f"Everything is in {folder}. Ask it more: cl-ast --registry {home} predict CLIP")


if __name__ == "__main__":
    main(prog_name="cl-ast")
