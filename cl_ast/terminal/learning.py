"""Learns one task for a command, and says on the way what is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import streams
    from cl_ast.continual.add_task import Learned
    from cl_ast.manager import Manager
    from cl_ast.terminal.learning_options import LearningOptions
    from cl_ast.terminal.rendering.progress import ProgressDisplay


def learn(manager: Manager, display: ProgressDisplay, task: streams.Task, options: LearningOptions) -> Learned:
    """Add a task as the options say."""
    from cl_ast.adapters.spec import parse

    _announce(manager, display, task)
    method = options.method or manager.recipe(task).method
    learned = manager.add_task(
        task,
        method=parse(method, manager.methods, from_layer=options.from_layer),
        options=options.train,
        pooling=options.pooling,
        positions=options.positions,
        replace=options.replace,
        resume=options.resume,
        evaluate=not options.no_eval,
        store=options.store,
        calibrate=not options.no_calibration,
        progress=display,
    )
    for skipped, reason in learned.skipped.items():
        display.say(f"{skipped} could not be measured: {reason}")
    for note in learned.notes:
        display.say(note)
    return learned


def _announce(manager: Manager, display: ProgressDisplay, task: streams.Task) -> None:
    if manager.registry.backbone is None:
        display.say(f"new registry over the backbone {manager.backbone_name}")
    counts = f"{len(task.train)} clips train, {len(task.validation)} validate, {len(task.test)} test"
    seconds = manager.backbone.front_end(task.clip_seconds).seconds
    display.say(f"{task.name}: {len(task.labels)} classes; hears {seconds:g} s; {counts}; {task.protocol}")
    for note in task.notes:
        display.say(f"{task.name}: {note}")
