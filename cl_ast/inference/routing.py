"""The router of a registry: its space, what a task adds to it, and all tasks' routing together."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

import streams
from cl_ast.audio.cache import DecodedClips
from cl_ast.batching import chunks
from cl_ast.errors import ClAstError, RegistryError, TaskNotFoundError
from cl_ast.evaluation.accuracy import logits_of
from cl_ast.inference.session import Held
from cl_ast.progress import Progress, Step
from cl_ast.router import DEFAULT, Router, RouterSpace, TaskRouting, learn
from cl_ast.router.copies import COPIES, copies
from cl_ast.router.space import description_id, dimensions_of, is_current, kind_in
from cl_ast.router.task_routing import description_id_of, kind_of, routing_in
from cl_ast.tasks.task_file import StoredTask
from cl_ast.tasks.task_model import TaskModel
from registry import VersionRecord

_MOST_CLIPS = 600  # of training, and of validation, at most
_CHUNK = 32


class Routes:
    """Routing for the tasks of a registry."""

    def __init__(self, held: Held, kind: str | None = None) -> None:
        """`kind` is the router of a new registry; an existing one keeps its own, and refuses another."""
        self.hearing = DecodedClips()
        self._held = held
        self._kind = kind
        self._space: RouterSpace | None = None
        self._read: dict[str, TaskRouting | None] = {}  # by the hash of the file
        self._last: tuple[tuple[tuple[str, str], ...], Router] | None = None

    @property
    def space(self) -> RouterSpace:
        """How the backbone describes clips to the router; measured once a registry and kept in it.

        Raises RegistryError where the registry has another router than the one asked for.
        """
        if self._space is None:
            known = self._held.registry.backbone
            background = known.background if known else b""
            if background and is_current(background):
                self._space = RouterSpace.from_bytes(background, self._held.backbone)
            else:
                kind = kind_in(background) if background else self._kind_of_tasks() or self._kind or DEFAULT
                self._space = RouterSpace.of(self._held.backbone, kind)
        if self._kind not in (None, self._space.kind):
            raise RegistryError(
                f"the registry in {self._held.registry.place} has the router {self._space.kind}, and {self._kind} is "
                "another; leave out --router, or use another registry"
            )
        return self._space

    def keep_space(self) -> None:
        """Say in the registry which backbone and which background it is for, if it does not say so yet."""
        known = self._held.registry.backbone
        if known is None or not known.background:
            self._held.keep_backbone(self.space.to_bytes())
        elif not is_current(known.background):
            self._held.registry.replace_background(self.space.to_bytes())

    def learn(self, task: streams.Task, model: TaskModel, seed: int, progress: Progress) -> TaskRouting:
        """What a task adds, from its training clips (and altered copies of them) and its validation clips."""
        generator = torch.Generator().manual_seed(seed)
        training, validation = (_some(clips, generator) for clips in (task.train, task.validation))
        index = {label: position for position, label in enumerate(task.labels)}
        return learn(
            self._describe(training, "learning the route", progress, altered=True),
            [index[clip.label] for clip in training],
            self._describe(validation, "calibrating the route", progress),
            generator=generator,
            kind=self.space.kind,
            recipe=self.space.recipe,
            copies=COPIES,
            noise=self.space.noise,
            logits=logits_of(model, self.hearing.read([clip.path for clip in validation])),
        )

    def _describe(self, clips: Sequence[streams.Clip], stage: str, progress: Progress, altered: bool = False) -> Tensor:
        """(n, d) clips as they are; altered, (copies · n, d)."""
        out: list[list[Tensor]] = [[self.space.describe([])] for _ in range(COPIES if altered else 1)]
        for part in chunks(len(clips), _CHUNK):
            heard = self.hearing.read([clips[i].path for i in part])
            versions = zip(*(copies(clip) for clip in heard), strict=True) if altered else [heard]
            for described, version in zip(out, versions, strict=True):
                described.append(self.space.describe(version))
            progress(Step(stage, part.stop, len(clips)))
        return torch.cat([torch.cat(described) for described in out])

    def router(self, candidates: Mapping[str, StoredTask] | None = None) -> Router:
        """All tasks' routing, with `candidates` in front.

        Raises:
            TaskNotFoundError: none can be routed to.
            RegistryError: the routing of some was learned in another way, and must be learned anew.
        """
        candidates = candidates or {}
        held = {name: one for name, one in self._stored().items() if name not in candidates}
        fresh = {name: self._routing(name, one.router) for name, one in candidates.items()}
        key = tuple(sorted((name, sha256) for name, (sha256, _) in held.items()))
        if not fresh and self._last and self._last[0] == key:
            return self._last[1]
        found = {name: routing for name, (_, routing) in held.items()} | fresh
        # A LoRA that peft made comes without routing: it answers by its name only.
        routed = {name: routing for name, routing in found.items() if routing is not None}
        if not routed:
            raise TaskNotFoundError("no task here can be found by the router; name one with --task")
        router = Router(routed, self.space.noise)
        if not fresh:
            self._last = key, router
        return router

    def routing(self) -> dict[str, TaskRouting]:
        """What each task that can be routed to adds, by name. Raises as `router`."""
        return {name: routing for name, (_, routing) in self._stored().items() if routing is not None}

    def refuse_stale(self) -> None:
        """Raise RegistryError where a task's routing must be learned anew before another can be added."""
        self._stored()

    def is_stale(self, version: VersionRecord) -> bool:
        """Whether it has routing that was learned in a way that is not this one."""
        tensors = routing_in(self._held.registry.read_adapter(version))
        return bool(tensors) and description_id_of(tensors) != description_id(self._held.backbone)

    def usable(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether routing that was learned elsewhere can be used here: the same router, backbone and recipe."""
        return description_id_of(tensors) == description_id(self._held.backbone) and kind_of(tensors) == self.space.kind

    def _stored(self) -> dict[str, tuple[str, TaskRouting | None]]:
        """Every task's hash and routing. Of a file that is read for it, all of the SHA-256 is checked, once a run."""
        found, stale = {}, []
        recipe = description_id(self._held.backbone)  # not of the space, which may be still to be measured
        for record in self._held.registry.tasks():
            version = record.version
            if version.adapter_sha256 not in self._read:
                tensors = routing_in(self._held.registry.read_adapter(version))
                if tensors and description_id_of(tensors) != recipe:
                    stale.append(record.name)
                    continue
                self._read[version.adapter_sha256] = self._routing(record.name, tensors)
            found[record.name] = version.adapter_sha256, self._read[version.adapter_sha256]
        if stale:
            raise RegistryError(
                f"the routing of {', '.join(stale)} was learned by another release of cl-ast: learn it anew with "
                "`cl-ast route`; with --task NAME it answers as before"
            )
        return found

    def _routing(self, name: str, tensors: Mapping[str, Tensor]) -> TaskRouting | None:
        try:
            return TaskRouting.from_tensors(tensors, dimensions_of(self._held.backbone.shape)) if tensors else None
        except ClAstError as error:
            raise type(error)(f"{name}: {error}") from error

    def _kind_of_tasks(self) -> str | None:
        """Where the background is lost (`rebuild`), the tasks still say which router they were learned for."""
        for record in self._held.registry.tasks():
            tensors = routing_in(self._held.registry.read_adapter(record.version))
            if description_id_of(tensors):
                return kind_of(tensors)
        return None


def _some(clips: Sequence[streams.Clip], generator: torch.Generator) -> list[streams.Clip]:
    order = torch.randperm(len(clips), generator=generator)[:_MOST_CLIPS].sort().values.tolist()
    return [clips[index] for index in order]
