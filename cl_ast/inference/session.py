"""What of a registry is in memory: its backbone, and the tasks that were asked for."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import platformdirs

from cl_ast.adapters.method import Method
from cl_ast.backbone import pretrained as checkpoints
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.device import pick_device
from cl_ast.errors import ClAstError, RegistryError, TaskExistsError, TaskNotFoundError
from cl_ast.inference.task_cache import TaskCache
from cl_ast.tasks.task_file import StoredTask, from_bytes
from cl_ast.tasks.task_model import TaskSettings
from cl_ast.training.checkpoint import Checkpoint
from cl_ast.training.trainer import TrainOptions
from registry import BackboneRecord, Registry, VersionRecord
from registry.names import checked


class Held:
    """One registry's backbone and tasks, each loaded when it is first needed."""

    def __init__(
        self, registry: Registry, backbone: str | None, device: str, methods: Mapping[str, Method], memory: int
    ) -> None:
        self.registry = registry
        self.methods = methods
        self.device = pick_device(device)
        self.asked = _from_everywhere(backbone)
        self._backbone: Backbone | None = None
        self.loaded = TaskCache(self._load, memory)
        self._tried: dict[str, StoredTask] = {}  # by name

    # The backbone

    @property
    def backbone_name(self) -> str:
        """The registry's backbone; of a new registry, the one asked for, or the best that is at hand."""
        known = self.registry.backbone
        if self.asked is None:
            self.asked = known.name if known else checkpoints.default_name()
        return self.asked

    @property
    def backbone(self) -> Backbone:
        """The frozen backbone. Raises BackboneError, or RegistryError where it is not the registry's."""
        if self._backbone is None:
            loaded = checkpoints.load(self.backbone_name, device=self.device)
            self._refuse_other_backbone(loaded)
            self._backbone = loaded
        return self._backbone

    def _refuse_other_backbone(self, loaded: Backbone) -> None:
        known = self.registry.backbone
        if known and known.fingerprint != loaded.fingerprint:
            raise RegistryError(
                f"the registry was made with the backbone {known.name} ({known.fingerprint[:12]}), and {loaded.name} "
                f"({loaded.fingerprint[:12]}) is another; leave out --backbone, or use another registry"
            )

    def keep_backbone(self, background: bytes) -> None:
        """Say in the registry which backbone it is for, with the router's background; at the first task, not before."""
        backbone = self.backbone
        self.registry.set_backbone(
            BackboneRecord(backbone.name, backbone.fingerprint, backbone.parameters, backbone.bytes, background)
        )

    # The tasks

    def stored(self, name: str) -> StoredTask:
        """One task as its file has it. Raises TaskNotFoundError, CorruptRegistryError."""
        if name in self._tried:
            return self._tried[name]
        return self.version(name, self.registry.task(name).version)

    def version(self, name: str, version: VersionRecord) -> StoredTask:
        """As `stored`, where the registry was asked before; the one that answers now, where that has gone since."""
        try:
            return self.loaded.get(version)
        except TaskNotFoundError:
            return self.loaded.get(self.registry.task(name).version)

    def _load(self, version: VersionRecord) -> StoredTask:
        try:
            return from_bytes(self.registry.read_adapter(version), self.backbone, self.methods)
        except ClAstError as error:
            if version.task in str(error):
                raise
            raise type(error)(f"{version.task}: {error}") from error

    @contextmanager
    def trying(self, name: str, candidate: StoredTask) -> Iterator[None]:
        """Let a task answer to its name before it is committed."""
        self._tried[name] = candidate
        try:
            yield
        finally:
            del self._tried[name]

    def name_for(self, name: str, replace: bool) -> str:
        """The task's name, as an existing task spells it; fails before training, not after it."""
        self.registry.require_writable()
        checked(name)
        try:
            there = self.registry.task(name).name
        except TaskNotFoundError:
            return name
        if not replace:
            raise TaskExistsError(
                f"a task called {name} is there already; add --replace for a new version, or give --name"
            )
        return there

    def checkpoint(self, settings: TaskSettings, data: str, options: TrainOptions) -> Checkpoint:
        """Outside the registry, which an interrupted training must leave as it was."""
        place = f"{self.registry.place}\n{settings.name}"
        name = hashlib.sha256(place.encode()).hexdigest()[:32]
        path = Path(platformdirs.user_cache_dir("cl-ast")) / "training" / f"{name}.safetensors"
        what = {**asdict(settings), "data": data, "backbone": self.backbone.fingerprint, **asdict(options)}
        return Checkpoint(path, what | {"method": settings.method.text})


def _from_everywhere(backbone: str | None) -> str | None:
    """A backbone's name, a local folder as its whole path: the registry keeps it."""
    if backbone is None or backbone == checkpoints.MINI or backbone in checkpoints.SHORT_NAMES:
        return backbone
    return str(Path(backbone).resolve()) if Path(backbone).is_dir() else backbone
