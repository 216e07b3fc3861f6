"""Makes a shared part: trains it on the clips of several tasks together, and freezes it in the registry."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

import streams
from cl_ast.adapters.adapter import fresh_shared
from cl_ast.adapters.spec import MethodSpec, parse
from cl_ast.continual.planning import clip_sets, kind_of
from cl_ast.errors import MethodError, RegistryError
from cl_ast.inference.session import Session
from cl_ast.progress import Progress, silent
from cl_ast.tasks.shared_part import to_bytes
from cl_ast.tasks.source import reload_version
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.options import TrainOptions
from cl_ast.training.recipes import recipe_for
from cl_ast.training.stopping import Stop, never
from cl_ast.training.together import LearnedTogether, Learner, train_together
from registry import SharedPart, shared_parts
from registry.names import checked

_FEWEST = 2


@dataclass(frozen=True, slots=True)
class Made:
    """A shared part as it now stands in the registry, and what its training came to."""

    part: SharedPart
    trained: LearnedTogether


def share(
    session: Session,
    name: str,
    tasks: Sequence[str],
    method: str,
    options: TrainOptions | None = None,
    *,
    progress: Progress = silent,
    stop: Stop = never,
) -> Made:
    """Train a shared part on the clips of tasks of the registry, each in the split that it was trained with.

    What the tasks learn of their own meanwhile is not kept, and they stay as they are: `add-task --share` learns a task
    with the shared part.

    Args:
        name: of the shared part; it must be new.
        method: as `--method` takes it, such as "poly:s=8,r=6".
        options: of the training; what is open is the recipe's of each task, and the epochs are the most of them.

    Raises:
        MethodError: the method reads no shared part.
        RegistryError: the name is taken, there are fewer than two tasks, or nothing can be committed.
        StreamError, AudioError: the clips of a task are gone.
        TrainingError: the training failed.
    """
    session.registry.require_writable()
    shared_parts.check_free(checked(name), session.registry.shared_parts())
    spec = parse(method, session.methods)
    if not spec.acts_as:
        reading = ", ".join(row.name for row in session.methods.values() if parse(row.name, session.methods).acts_as)
        raise MethodError(f"{spec} reads no shared part; these methods do: {reading}")
    records = {record.id: record for record in map(session.registry.task, tasks)}
    if len(records) < _FEWEST:
        raise RegistryError(
            "a shared part is trained on two tasks or more; give --tasks the names of several in this registry"
        )
    loaded = [
        replace(reload_version(session.registry, record.version), name=record.name) for record in records.values()
    ]
    learned, data = trained_on(session, loaded, spec, options or TrainOptions(), progress, stop)
    return Made(session.registry.share(name, data, spec.text, [task.name for task in loaded]), learned)


def trained_on(
    session: Session,
    tasks: Sequence[streams.Task],
    spec: MethodSpec,
    options: TrainOptions,
    progress: Progress = silent,
    stop: Stop = never,
) -> tuple[LearnedTogether, bytes]:
    """Return what the training of a shared part came to, and the part's file."""
    backbone, seed = session.backbone, options.seed
    shared = fresh_shared(spec, backbone, torch.Generator().manual_seed(seed))
    learners = []
    for number, task in enumerate(tasks):
        recipe = recipe_for(task.source.task, backbone)
        front_end = backbone.front_end(task.clip_seconds)
        settings = TaskSettings(task.name, spec, task.labels, front_end, recipe.pooling, kind=kind_of(task))
        own = recipe.complete(options, spec)
        training, validation = clip_sets(session, task, settings, own)
        # Each task starts with a seed of its own: with the same numbers of their own, two would learn alike.
        model = TaskModel.fresh(settings, backbone, torch.Generator().manual_seed(seed + 1 + number), shared)
        learners.append(Learner(model, training, validation, own))
    most = max((one.options for one in learners), key=lambda one: one.epochs)
    learned = train_together(learners, shared, most, progress, stop)
    return learned, to_bytes(shared)
