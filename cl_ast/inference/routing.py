"""The routing of a registry: its router space, what each task adds to it, and the router over all tasks."""

import shlex
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress

from torch import Tensor

from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import CorruptRegistryError, RegistryError, TaskNotFoundError
from cl_ast.progress import ClAstWarning
from cl_ast.router import ALPHA, DEFAULT, Router, RouterSpace, TaskRouting
from cl_ast.router.space import description_id, dimensions_of, is_current, kind_in
from cl_ast.router.task_routing import alpha_in, description_id_of, has_routing, kind_of, routing_in
from cl_ast.tasks.origin import by_name_only, how_to_route
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
        self._is_remeasured = False  # because the registry's cannot be used
        self._read: dict[str, TaskRouting | None] = {}  # by the hash of the file
        self._last: tuple[tuple[tuple[str, str], ...], Router] | None = None

    @property
    def space(self) -> RouterSpace:
        """How the backbone describes clips to the router; measured once a registry and kept in it.

        Raises RegistryError where the registry has another router than the one that was chosen.
        """
        if self._space is None:
            known = self._registry.backbone
            self._space = self._opened(known.background if known else b"")
        self._refuse(self._space.kind)
        return self._space

    @property
    def kind(self) -> str:
        """The registry's router; of a new registry, the one that was chosen. No backbone is loaded for it."""
        known = self._registry.backbone
        found = kind_in(known.background) if known and known.background else self._kind_of_tasks()
        return found or self._kind or DEFAULT

    def refuse_another_kind(self) -> None:
        """Raise RegistryError where the registry has another router than the one that was chosen."""
        if self._kind is not None:
            self._refuse(self.kind)

    def _refuse(self, kind: str) -> None:
        if self._kind not in (None, kind):
            raise RegistryError(
                f"the registry in {self._registry.place} has the router {kind}, and {self._kind} is another; leave out "
                "--router, or use another registry"
            )

    def _opened(self, background: bytes) -> RouterSpace:
        """Return the space with that background, or measure it: it follows from the backbone and the kind alone."""
        if background and is_current(background):
            with suppress(CorruptRegistryError):
                return RouterSpace.from_bytes(background, self._backbone())
        self._is_remeasured = bool(background)
        kind = kind_in(background) if background else self._kind_of_tasks() or self._kind or DEFAULT
        return RouterSpace.of(self._backbone(), kind)

    def keep_space(self) -> None:
        """Record in the registry its backbone and its router space, unless they are recorded already."""
        known, space, backbone = self._registry.backbone, self.space, self._backbone()
        if known is None or not known.background:
            record = BackboneRecord(
                backbone.name, backbone.fingerprint, backbone.parameters, backbone.bytes, space.to_bytes()
            )
            self._registry.set_backbone(record)
        elif self._is_remeasured:
            self._registry.replace_background(space.to_bytes())

    def router(self, candidates: Mapping[str, StoredTask] | None = None, *, skip_damaged: bool = False) -> Router:
        """Return the router over all tasks, in which `candidates` stand for tasks of their names.

        Args:
            skip_damaged: leave out a task whose file is damaged or missing, with a warning.

        Raises:
            CorruptRegistryError: a task's file is damaged or missing.
            TaskNotFoundError: no task can be routed to.
            RegistryError: the routing of some tasks is of another release, and must be rebuilt.
        """
        candidates = candidates or {}
        stored = {name: one for name, one in self._stored(skip_damaged).items() if name not in candidates}
        fresh = {name: self._read_tensors(one.router) for name, one in candidates.items()}
        key = tuple(sorted((name, sha256) for name, (sha256, _) in stored.items()))
        if not fresh and self._last and self._last[0] == key:
            return self._last[1]
        found = {name: routing for name, (_, routing) in stored.items()} | fresh
        routed = {name: routing for name, routing in found.items() if routing is not None}
        if not routed:
            raise TaskNotFoundError(
                "no task here can be found by the router; name one with --task, or let the router learn from clips "
                "with `cl-ast route NAME --with DIR`"
            )
        router = Router(routed, self.space.noise)
        if not fresh:
            self._last = key, router
        return router

    def tasks(self) -> dict[str, TaskRouting]:
        """Return the routing of each task that can be routed to, by name. Raises as `router`."""
        return {name: routing for name, (_, routing) in self._stored().items() if routing is not None}

    def alpha_of(self, version: VersionRecord) -> float:
        """Return the p-value below which a clip is unknown to a task; the usual one where it has no routing."""
        return ALPHA if by_name_only(version) else alpha_in(self._registry.read_adapter(version))

    def refuse_stale(self) -> None:
        """Raise RegistryError where a task's routing must be rebuilt before another task can be added."""
        self._stored()

    def is_unusable(self, version: VersionRecord) -> bool:
        """Return whether a version has routing that is not used: of a stranger, of another release, or damaged."""
        data = self._registry.read_adapter(version)
        if not has_routing(data) or by_name_only(version):
            return has_routing(data)
        try:
            routing = self._read_tensors(routing_in(data))
            return routing is None or routing.kind != self.space.kind
        except CorruptRegistryError:
            return True

    def _stored(self, skip_damaged: bool = False) -> dict[str, tuple[str, TaskRouting | None]]:
        """Return every task's hash and routing. Each file is read and its SHA-256 checked once a process.

        The routing of a task that answers by name only is None.

        Warns:
            ClAstWarning: a task has routing that is not used; said once a process.
        """
        found, stale = {}, []
        for record in self._registry.tasks():
            version = record.version
            if version.adapter_sha256 not in self._read:
                try:
                    self._read[version.adapter_sha256] = self._routing_of(record.name, version)
                except _StaleError:
                    stale.append(record.name)
                    continue
                except CorruptRegistryError as error:
                    if not skip_damaged:
                        raise
                    _warn(f"{error}; the router leaves {record.name} out")
                    self._read[version.adapter_sha256] = None
            found[record.name] = version.adapter_sha256, self._read[version.adapter_sha256]
        if stale:
            raise RegistryError(
                f"the routing of {', '.join(stale)} was learned by another release of cl-ast: rebuild it with "
                "`cl-ast route`; with --task NAME the task answers as before"
            )
        return found

    def _routing_of(self, name: str, version: VersionRecord) -> TaskRouting | None:
        """Return the routing of a version. Raises _StaleError where it is of another release."""
        data = self._registry.read_adapter(version)
        if by_name_only(version):
            if has_routing(data):
                _warn(
                    f"{name} was imported with routing of its own, which is not used: it answers by name only until "
                    f"{how_to_route(name)} learns its routing from clips in DIR"
                )
            return None
        try:
            routing = self._read_tensors(routing_in(data))
            if routing is not None and routing.kind != self.space.kind:
                raise CorruptRegistryError(f"it is for the router {routing.kind}, not for {self.space.kind}")
        except _StaleError:
            raise
        except CorruptRegistryError as error:
            _warn(
                f"the routing of {name} cannot be used ({error}): it answers by name only until "
                f"`cl-ast route {shlex.quote(name)}` or {how_to_route(name)} rebuilds it"
            )
            return None
        return routing

    def _read_tensors(self, tensors: Mapping[str, Tensor]) -> TaskRouting | None:
        """Return the routing with these tensors, None for none. Raises CorruptRegistryError if they cannot be used."""
        if not tensors:
            return None
        backbone = self._backbone()  # not the space, which may still have to be measured
        if description_id_of(tensors) != description_id(backbone):
            raise _StaleError
        return TaskRouting.from_tensors(tensors, dimensions_of(backbone.shape))

    def _kind_of_tasks(self) -> str | None:
        """Return the router that the tasks were learned for; needed where `rebuild` lost the router space."""
        for record in self._registry.tasks():
            if by_name_only(record.version):
                continue
            with suppress(CorruptRegistryError):
                tensors = routing_in(self._registry.read_adapter(record.version))
                if description_id_of(tensors):
                    return kind_of(tensors)
        return None


class _StaleError(CorruptRegistryError):
    """Raised for routing that describes clips in another way than this release does."""


def _warn(message: str) -> None:
    warnings.warn(message, ClAstWarning, stacklevel=2)
