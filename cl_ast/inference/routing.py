"""The routing of a registry: its router space, what each task adds to it, and the router over all tasks."""

from collections.abc import Callable, Mapping

from torch import Tensor

from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import ClAstError, RegistryError, TaskNotFoundError
from cl_ast.router import DEFAULT, Router, RouterSpace, TaskRouting
from cl_ast.router.space import description_id, dimensions_of, is_current, kind_in
from cl_ast.router.task_routing import description_id_of, kind_of, routing_in
from cl_ast.tasks.task_file import StoredTask
from registry import BackboneRecord, Registry, VersionRecord


class RegistryRouting:
    """Reads the routing of a registry's tasks from their files, and puts it side by side."""

    def __init__(self, registry: Registry, backbone: Callable[[], Backbone], kind: str | None = None) -> None:
        """
        Args:
            backbone: loads the registry's backbone, when it is needed.
            kind: the router of a new registry; an existing one keeps its own, and refuses another.
        """
        self._registry = registry
        self._backbone = backbone
        self._kind = kind
        self._space: RouterSpace | None = None
        self._read: dict[str, TaskRouting | None] = {}  # by the hash of the file
        self._last: tuple[tuple[tuple[str, str], ...], Router] | None = None

    @property
    def space(self) -> RouterSpace:
        """How the backbone describes clips to the router; measured once a registry and kept in it.

        Raises RegistryError where the registry has another router than the one that was chosen.
        """
        if self._space is None:
            known = self._registry.backbone
            background = known.background if known else b""
            if background and is_current(background):
                self._space = RouterSpace.from_bytes(background, self._backbone())
            else:
                kind = kind_in(background) if background else self._kind_of_tasks() or self._kind or DEFAULT
                self._space = RouterSpace.of(self._backbone(), kind)
        if self._kind not in (None, self._space.kind):
            raise RegistryError(
                f"the registry in {self._registry.place} has the router {self._space.kind}, and {self._kind} is "
                "another; leave out --router, or use another registry"
            )
        return self._space

    def keep_space(self) -> None:
        """Record in the registry its backbone and its router space, unless they are recorded already."""
        known, space, backbone = self._registry.backbone, self.space, self._backbone()
        if known is None or not known.background:
            record = BackboneRecord(
                backbone.name, backbone.fingerprint, backbone.parameters, backbone.bytes, space.to_bytes()
            )
            self._registry.set_backbone(record)
        elif not is_current(known.background):
            self._registry.replace_background(space.to_bytes())

    def router(self, candidates: Mapping[str, StoredTask] | None = None) -> Router:
        """Return the router over all tasks, in which `candidates` stand for tasks of their names.

        Raises:
            TaskNotFoundError: no task can be routed to.
            RegistryError: the routing of some tasks is of another release, and must be rebuilt.
        """
        candidates = candidates or {}
        stored = {name: one for name, one in self._stored().items() if name not in candidates}
        fresh = {name: self._parsed(name, one.router) for name, one in candidates.items()}
        key = tuple(sorted((name, sha256) for name, (sha256, _) in stored.items()))
        if not fresh and self._last and self._last[0] == key:
            return self._last[1]
        found = {name: routing for name, (_, routing) in stored.items()} | fresh
        # A LoRA that peft made has no routing: it answers by name only.
        routed = {name: routing for name, routing in found.items() if routing is not None}
        if not routed:
            raise TaskNotFoundError("no task here can be found by the router; name one with --task")
        router = Router(routed, self.space.noise)
        if not fresh:
            self._last = key, router
        return router

    def tasks(self) -> dict[str, TaskRouting]:
        """Return the routing of each task that can be routed to, by name. Raises as `router`."""
        return {name: routing for name, (_, routing) in self._stored().items() if routing is not None}

    def refuse_stale(self) -> None:
        """Raise RegistryError where a task's routing must be rebuilt before another task can be added."""
        self._stored()

    def is_stale(self, version: VersionRecord) -> bool:
        """Return whether a version has routing that describes clips in another way than this release does."""
        tensors = routing_in(self._registry.read_adapter(version))
        return bool(tensors) and description_id_of(tensors) != description_id(self._backbone())

    def is_usable(self, tensors: Mapping[str, Tensor]) -> bool:
        """Return whether routing that was learned elsewhere fits here: the same router and the same descriptions."""
        return description_id_of(tensors) == description_id(self._backbone()) and kind_of(tensors) == self.space.kind

    def _stored(self) -> dict[str, tuple[str, TaskRouting | None]]:
        """Return every task's hash and routing. Each file is read and its SHA-256 checked once a process."""
        found, stale = {}, []
        wanted = description_id(self._backbone())  # not of the space, which may still have to be measured
        for record in self._registry.tasks():
            version = record.version
            if version.adapter_sha256 not in self._read:
                tensors = routing_in(self._registry.read_adapter(version))
                if tensors and description_id_of(tensors) != wanted:
                    stale.append(record.name)
                    continue
                self._read[version.adapter_sha256] = self._parsed(record.name, tensors)
            found[record.name] = version.adapter_sha256, self._read[version.adapter_sha256]
        if stale:
            raise RegistryError(
                f"the routing of {', '.join(stale)} was learned by another release of cl-ast: rebuild it with "
                "`cl-ast route`; with --task NAME the task answers as before"
            )
        return found

    def _parsed(self, name: str, tensors: Mapping[str, Tensor]) -> TaskRouting | None:
        try:
            return TaskRouting.from_tensors(tensors, dimensions_of(self._backbone().shape)) if tensors else None
        except ClAstError as error:
            raise type(error)(f"{name}: {error}") from error

    def _kind_of_tasks(self) -> str | None:
        """Return the router that the tasks were learned for; needed where `rebuild` lost the router space."""
        for record in self._registry.tasks():
            tensors = routing_in(self._registry.read_adapter(record.version))
            if description_id_of(tensors):
                return kind_of(tensors)
        return None
