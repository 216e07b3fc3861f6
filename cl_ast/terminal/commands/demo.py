"""`cl-ast demo`"""

from __future__ import annotations

import os
from pathlib import Path

import click

from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line


@click.command("demo")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("cl-ast-demo"), metavar="[DIR]")
@pass_app
def demo(app: App, /, folder: Path) -> None:
    """The whole story in minutes, offline.

    Three small tasks are made, learned and tried on the CPU; clips and registry stay in DIR (cl-ast-demo/). A second
    time it starts again; it replaces only what carries its own mark and holds nothing of yours.

    \b
    cl-ast demo
    """
    from cl_ast.backbone.pretrained import MINI
    from cl_ast.inference.prediction import Prediction
    from cl_ast.manager import Manager
    from cl_ast.terminal import demo_story as story
    from cl_ast.terminal.rendering import results, stats_tables, tables

    home = folder / "registry"
    story.make_room(folder)
    tables.show(
        "Three small tasks, made here and learned one after another over ast-mini, which is in the package.", ""
    )
    folders = story.make_clips(folder / "clips")
    with Manager.open(home, backbone=MINI, device="cpu") as manager, app.progress() as display:
        for learned in story.learn_all(manager, folders, display):
            print_line(results.learned_line(learned))
        clips = [*story.unseen_clips(folders), *story.make_strangers(folder / "strangers")]
        clips = [Path(os.path.relpath(clip)) for clip in clips]
        answers = [a for a in manager.predict(clips, top_k=2) if isinstance(a, Prediction)]
        report = manager.stats()
    tables.show("", "Clips that no task has seen, and two that belong to none: cl-ast predict … --task auto", "")
    tables.show(tables.predictions(answers))
    tables.show("", "What is kept of each task, and what was forgotten: cl-ast stats", "")
    tables.show(stats_tables.stats(report))
    tables.show("", f"Everything is in {folder}. Try more: cl-ast --registry {home} predict CLIP")
