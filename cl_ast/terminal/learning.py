"""Learns tasks for a command, and says on the way what is done."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from cl_ast.errors import ClAstError, MethodError
from cl_ast.terminal.interrupting import CtrlC

if TYPE_CHECKING:
    import streams
    from cl_ast.adapters.spec import MethodSpec
    from cl_ast.cluster.pool import Pool
    from cl_ast.continual.add_task import Learned
    from cl_ast.continual.forecast import Forecast
    from cl_ast.continual.planning import Request
    from cl_ast.manager import Manager
    from cl_ast.terminal.app import App
    from cl_ast.terminal.learning_options import LearningOptions
    from cl_ast.terminal.rendering.progress import ProgressDisplay
    from cl_ast.training.distributed import Group

T = TypeVar("T")
_UNBALANCED = 5  # times as many training clips in the largest class as in the smallest are worth a word


@contextmanager
def opened_with(
    app: App, options: LearningOptions, group: Group, load: Callable[[], T], *, make: bool = True
) -> Iterator[tuple[Manager, T]]:
    """Open the registry and load what is to be learned.

    A registry that is there is opened first, so that it refuses another backbone or router before clips are looked at.
    A new one is made last, so that none is made for clips that cannot be used.

    Args:
        load: loads the tasks, in the main process first.
        make: whether a registry is made where there is none; else one in a temporary folder takes its place.
    """
    if options.log is not None:
        from cl_ast.reporting.trackers import check_installed

        check_installed(options.log)
    with ExitStack() as stack:
        there = app.manager_if_there(options.backbone, options.router, group, precision=options.backbone_precision)
        if there is not None:
            stack.enter_context(there)
        with group.main_first():
            loaded = load()
        if there is None:
            if not make:
                app = replace(app, location=stack.enter_context(tempfile.TemporaryDirectory(prefix="cl-ast-")))
            there = stack.enter_context(
                app.manager(options.backbone, options.router, group, precision=options.backbone_precision, create=True)
            )
        yield there, loaded


def learn(manager: Manager, display: ProgressDisplay, task: streams.Task, options: LearningOptions) -> Learned:
    """Add a task as the options say."""
    from cl_ast.continual.add_task import add_task

    _announce(manager, display, [task], options)
    request = _request(manager, task, options)
    ctrl_c = CtrlC()
    with ctrl_c.installed(display.tell if manager.group.main else lambda _: None):
        learned = add_task(
            manager.session, task, request, group=manager.group, progress=ctrl_c.watching(display), stop=ctrl_c
        )
    _say_what_to_know(display, learned)
    _track(manager, display, learned, options)
    return learned


def foresee(manager: Manager, display: ProgressDisplay, task: streams.Task, options: LearningOptions) -> Forecast:
    """Return what adding a task as the options say would take."""
    from cl_ast.continual.forecast import forecast

    return forecast(manager.session, task, _request(manager, task, options), display)


def learn_all(
    app: App,
    manager: Manager,
    display: ProgressDisplay,
    tasks: Sequence[streams.Task],
    options: LearningOptions,
    pool: Pool | None = None,
) -> Iterator[Learned]:
    """Add tasks in order as the options say, and yield each when it is committed.

    Args:
        pool: the workers that train them; None trains one after another in this process.
    """
    if pool is None:
        yield from (learn(manager, display, task, options) for task in tasks)
        return
    from cl_ast.continual.learn_stream import TaskTrainer, learn_stream

    _announce(manager, display, tasks, options)
    wanted = [(task, _request(manager, task, options)) for task in tasks]
    session = manager.session
    name, precision = session.backbone_name, session.backbone_precision
    trainer = TaskTrainer(app.location, name, app.device, options.router, precision)
    for learned in learn_stream(session, wanted, trainer, pool, display):
        _say_what_to_know(display, learned)
        _track(manager, display, learned, options)
        yield learned


def _request(manager: Manager, task: streams.Task, options: LearningOptions) -> Request:
    from cl_ast.adapters.spec import parse
    from cl_ast.continual.planning import Request
    from cl_ast.training.recipes import recipe_for

    recipe, methods = recipe_for(task.source.task, manager.backbone), manager.session.methods
    method: MethodSpec | str | None = options.method
    if options.share is None:
        spec = recipe.spec(options.method or recipe.method, methods)
        method = parse(spec.text, methods, from_layer=options.from_layer)
    elif options.from_layer is not None:
        raise MethodError("--from-layer: the layers are those of the shared part; leave it out with --share")
    return Request(
        method=method,
        options=options.train,
        pooling=options.pooling,
        positions=options.positions,
        store=options.store,
        replace=options.replace,
        resume=options.resume,
        evaluate=not options.no_eval,
        negatives=options.negatives,
        calibrate=not options.no_calibration,
        share=options.share,
    )


def _say_what_to_know(display: ProgressDisplay, learned: Learned) -> None:
    for skipped, reason in learned.skipped.items():
        display.say(f"{skipped} could not be measured: {reason}")
    for note in learned.notes:
        display.say(note)


def _track(manager: Manager, display: ProgressDisplay, learned: Learned, options: LearningOptions) -> None:
    """Write the task to the experiment tracker, if there is one; where that fails, the other tasks go on."""
    if options.log is None or not manager.group.main:
        return
    from cl_ast.reporting.trackers import track

    try:
        track(options.log, learned, manager.stats())
    except ClAstError as error:
        display.say(str(error))


def _announce(
    manager: Manager, display: ProgressDisplay, tasks: Sequence[streams.Task], options: LearningOptions
) -> None:
    if manager.registry.backbone is None:
        display.say(f"new registry over the backbone {manager.session.backbone_name}")
    for task in tasks:
        counts = f"{len(task.train)} clips train, {len(task.validation)} validate, {len(task.test)} test"
        seconds = manager.backbone.front_end(task.clip_seconds).seconds
        kind = "tags" if task.source.tags else "classes"
        display.say(f"{task.name}: {len(task.labels)} {kind}; hears {seconds:g} s; {counts}; {task.protocol}")
        for note in task.notes:
            display.say(f"{task.name}: {note}")
        counts_of = Counter(label for clip in task.train for label in clip.labels)
        fewest, most = min(counts_of.values(), default=0), max(counts_of.values(), default=0)
        if most >= _UNBALANCED * fewest and options.train.class_weights == "none":
            display.say(
                f"{task.name}: from {fewest} to {most} training clips per class; --class-weights auto gives rare "
                "classes more weight"
            )
