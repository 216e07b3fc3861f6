"""The command line: parse, call one method of the library, print.

Nothing heavier than click is imported until a command needs it.
"""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cl_ast.errors import ClAstError
from cl_ast.terminal import managing, methods, predicting, reporting, routing, sharing
from cl_ast.terminal.learning import LearnOptions, learn, learning_options, load
from cl_ast.terminal.output import print_json, table_or
from cl_ast.terminal.processes import together
from cl_ast.terminal.reporting import print_stats

if TYPE_CHECKING:
    from cl_ast.cluster.predicting import Cluster
    from cl_ast.manager import Manager
    from cl_ast.terminal.rendering.progress import Watch
    from cl_ast.training.distributed import Group
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
        from cl_ast.manager import Manager
        from cl_ast.training.distributed import ALONE

        group = group or ALONE
        return Manager.open(self.location, backbone=backbone, device=self.device, router=router, group=group)

    def cluster(self, backbone: str | None, workers: int | None) -> Cluster:
        from cl_ast.cluster.predicting import Cluster, Place

        return Cluster(Place(self.location, backbone, self.device, Path.cwd()), workers)

    def registry(self) -> Registry:
        from registry import Registry

        return Registry.open(self.location)

    def watch(self, *, shown: bool = True) -> Watch:
        from cl_ast.terminal.rendering.progress import Watch

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


_PARTS = (predicting, reporting, methods, managing, routing, sharing)
for _command in chain.from_iterable(part.COMMANDS for part in _PARTS):
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
    from cl_ast.terminal.rendering import results as shapes
    from cl_ast.terminal.rendering import tables

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
    from cl_ast.terminal.rendering import results as shapes

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
        print_stats(report, kind)


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
    from cl_ast.backbone.pretrained import MINI
    from cl_ast.inference.prediction import Prediction
    from cl_ast.manager import Manager
    from cl_ast.terminal import demo_story as story
    from cl_ast.terminal.rendering import results as shapes
    from cl_ast.terminal.rendering import tables

    home = folder / "registry"
    story.make_room(home)
    tables.show(
        "Three small tasks, made here, learned one after another over ast-mini, the backbone in the package.", ""
    )
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
