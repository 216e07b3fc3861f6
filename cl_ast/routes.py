"""The router of a registry: its space, what a task adds to it, and all tasks' routing together."""

from collections.abc import Mapping, Sequence

import torch

import streams
from cl_ast.clips import chunks
from cl_ast.errors import TaskNotFoundError
from cl_ast.hearing import Hearing
from cl_ast.held import Held
from cl_ast.progress import Report, Step
from cl_ast.router import Router, RouterSpace, TaskRouting, learn
from cl_ast.task_model import StoredTask

_MOST_CLIPS = 2_000  # training clips that make a task's prototypes, at most
_CHUNK = 64


class Routes:
    """Routing for the tasks that are held."""

    def __init__(self, held: Held) -> None:
        self.hearing = Hearing()
        self._held = held
        self._space: RouterSpace | None = None

    @property
    def space(self) -> RouterSpace:
        """How the trunk describes clips to the router; measured once a registry and kept in it."""
        if self._space is None:
            known = self._held.registry.backbone
            if known and known.background:
                self._space = RouterSpace.from_bytes(known.background, self._held.backbone)
            else:
                self._space = RouterSpace.of(self._held.backbone)
        return self._space

    def keep_space(self) -> None:
        """Say in the registry which trunk and which background it is for, if it does not say so yet."""
        known = self._held.registry.backbone
        if known is None or not known.background:
            self._held.keep_trunk(self.space.to_bytes())

    def learn(self, task: streams.Task, seed: int, report: Report) -> TaskRouting:
        """What a task adds, from its training and validation clips."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(task.train), generator=generator)[:_MOST_CLIPS].sort().values.tolist()
        training = [task.train[index] for index in order]
        index = {label: position for position, label in enumerate(task.labels)}
        return learn(
            self._describe(training, "learning the route", report),
            [index[clip.label] for clip in training],
            self._describe(task.validation[:_MOST_CLIPS], "calibrating the route", report),
            generator=generator,
        )

    def _describe(self, clips: Sequence[streams.Clip], stage: str, report: Report) -> torch.Tensor:
        out = [self.space.describe([])]
        for part in chunks(len(clips), _CHUNK):
            out.append(self.space.describe(self.hearing.read([clips[i].path for i in part])))
            report(Step(stage, part.stop, len(clips)))
        return torch.cat(out)

    def router(self, candidates: Mapping[str, StoredTask] | None = None) -> Router:
        """All tasks' routing, with `candidates` in front. Raises TaskNotFoundError where none can be routed to."""
        candidates = candidates or {}
        names = [record.name for record in self._held.registry.tasks() if record.name not in candidates]
        tasks = {name: self._held.stored(name) for name in names} | dict(candidates)
        # A LoRA that peft made comes without routing: it answers by its name only.
        routed = {name: TaskRouting.from_tensors(one.router) for name, one in tasks.items() if one.router}
        if not routed:
            raise TaskNotFoundError("no task here can be found by the router; name one with --task")
        return Router(routed)
