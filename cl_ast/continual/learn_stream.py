"""Learns several tasks: an engine trains them, perhaps several at once, and they are committed in the order given.

A training depends on nothing of the other tasks, so the registry is the same as after adding one task after another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import streams
from cl_ast.adapters.spec import owned
from cl_ast.continual.add_task import Learned, Ready, finish, train_alone
from cl_ast.continual.learn_routing import LearnedRouting, UsedNegatives
from cl_ast.continual.planning import Plan, Request, planned
from cl_ast.inference.session import Session
from cl_ast.progress import Progress, silent
from cl_ast.router import TaskRouting
from cl_ast.router.space import dimensions_of
from cl_ast.tasks.task_file import from_bytes, to_bytes
from cl_ast.training.engine import Engine
from cl_ast.training.trainer import Trained
from registry import Registry


def learn_stream(
    session: Session,
    tasks: Sequence[tuple[streams.Task, Request]],
    trainer: "TaskTrainer",
    engine: Engine,
    progress: Progress = silent,
) -> Iterator[Learned]:
    """Train tasks on an engine, and yield each when it is measured and committed, in their order.

    A training that was stopped goes on from its checkpoint, where there is one, to the same weights.

    Args:
        trainer: what the engine's processes train with.

    Raises:
        ClAstError: as `Manager.add_task`; for what can be known before, no task is trained then.
    """
    jobs = [Job(planned(session, task, request), replace(request, resume=None)) for task, request in tasks]
    for job in jobs:
        owned(job.plan.settings.method, session.backbone.shape)
    for job, trained in zip(jobs, engine.map(trainer, jobs, progress), strict=True):
        yield finish(session, job.plan, job.request, trained.ready(session), progress)


@dataclass(frozen=True, slots=True)
class Job:
    """One task to be trained."""

    plan: Plan
    request: Request


@dataclass(frozen=True, slots=True)
class TrainedTask:
    """A trained task on its way between processes.

    Attributes:
        file: its file, without the clips of its splits.
        negatives: with which its routing was learned.
    """

    file: bytes
    trained: Trained
    device: str
    negatives: UsedNegatives | None

    def ready(self, session: Session) -> Ready:
        """Return the task over the session's backbone."""
        stored = from_bytes(self.file, session.backbone, session.methods, session.shared)
        dimensions = dimensions_of(session.backbone.shape)
        routing = TaskRouting.from_tensors(stored.router, dimensions) if stored.router else None
        learned = None if routing is None else LearnedRouting(routing, self.negatives)
        return Ready(stored.model, self.trained, learned, self.device)


class TaskTrainer:
    """Trains tasks in a process of its own, which opens the registry for the first one; it writes nothing there."""

    def __init__(self, registry: str, backbone: str, device: str, router: str | None, precision: str = "fp32") -> None:
        """
        Args:
            registry: a folder or URL that every process can reach, and so all others.
            router, precision: of a new registry, `precision` that of its backbone's weights.
        """
        self._place = registry
        self._backbone = backbone
        self._precision = precision
        self._device = device
        self._router = router
        self._session: Session | None = None

    def __call__(self, job: Job) -> TrainedTask:
        """Train a task and learn its routing."""
        if self._session is None:
            registry = Registry.open(self._place, create=False)
            self._session = Session(
                registry,
                backbone=self._backbone,
                backbone_precision=self._precision,
                device=self._device,
                router=self._router,
            )
        ready = train_alone(self._session, job.plan, job.request)
        learned = ready.routing
        file = to_bytes(ready.model, self._session.backbone, {}, {} if learned is None else learned.routing.tensors())
        return TrainedTask(file, ready.trained, ready.device, None if learned is None else learned.negatives)
