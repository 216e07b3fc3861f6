"""The session: a registry's backbone, its tasks and their routing in memory, each loaded when it is first needed."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS
from cl_ast.audio.cache import DecodedClips
from cl_ast.backbone import pretrained
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.device import pick_device
from cl_ast.backbone.int8 import precision_of
from cl_ast.errors import ClAstError, RegistryError, TaskExistsError, TaskNotFoundError
from cl_ast.inference.routing import RegistryRouting
from cl_ast.inference.task_cache import TASK_BYTES, TaskCache
from cl_ast.router.description_cache import DescriptionCache
from cl_ast.tasks import shared_part
from cl_ast.tasks.task_file import StoredTask, from_bytes, seconds_in
from cl_ast.tasks.task_model import TaskModel
from registry import Registry, VersionRecord
from registry.names import checked, checked_stored


class Session:
    """One registry in memory. Not to be shared between threads.

    Attributes:
        methods: the table of methods that the tasks' files are read with.
        clips: a cache of decoded clips.
        descriptions: a cache of what the router reads of clips.
        routing: which task a clip belongs to.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        backbone: str | Backbone | None = None,
        backbone_precision: str | None = None,
        device: str = "auto",
        methods: Mapping[str, Method] | None = None,
        memory: int = TASK_BYTES,
        router: str | None = None,
    ) -> None:
        """
        Args:
            backbone: of a new registry, or where an existing one's lies now, or the backbone itself where it is loaded
                already; None for what the registry says.
            backbone_precision: of a new registry, what its backbone's weights are kept in, one of `int8.PRECISIONS`; an
                existing one keeps its own, and refuses another.
            methods: the table of methods; `METHODS` by default.
            device: "auto", "cpu", "cuda", "cuda:1" or "mps".
            memory: how many bytes of tasks stay in memory.
            router: of a new registry; an existing one keeps its own, and refuses another.

        Raises ClAstError where the device is not there.
        """
        self.registry = registry
        self.methods = METHODS if methods is None else methods
        self.device = pick_device(device)
        self.clips = DecodedClips()
        self.descriptions = DescriptionCache()
        self.routing = RegistryRouting(registry, lambda: self.backbone, router)
        self._backbone: Backbone | None = None
        if isinstance(backbone, Backbone):
            self._refuse_another(backbone)
            self._backbone, backbone = backbone, backbone.name
        self._chosen_backbone = _absolute(backbone)
        self._chosen_precision = backbone_precision
        self._cache = TaskCache(self._load, memory)
        self._candidates: dict[str, StoredTask] = {}  # by name
        self._shared: dict[str, Mapping[str, Tensor]] = {}  # by the hash of its file
        self._seconds: dict[str, float] = {}  # that a version takes of a clip, by the hash of its file

    def close(self) -> None:
        """Stop reading ahead, and close the recording that was read last. The registry stays open."""
        self._cache.close()
        self.clips.close()

    # The backbone

    @property
    def backbone_name(self) -> str:
        """The registry's backbone; of a new registry, the one that was chosen, or the best that is at hand."""
        if self._chosen_backbone is None:
            known = self.registry.backbone
            self._chosen_backbone = known.name if known else pretrained.default_name()
        return self._chosen_backbone

    @property
    def backbone_precision(self) -> str:
        """What the weights of the registry's backbone are kept in, one of `int8.PRECISIONS`."""
        known = self._backbone or self.registry.backbone
        return precision_of(known.fingerprint) if known else self._chosen_precision or "fp32"

    def suggest_backbone(self, name: str | None, precision: str | None = None) -> None:
        """Use this backbone for a new registry, unless one was chosen already; and this precision of its weights."""
        if self.registry.backbone is None:
            self._chosen_backbone = self._chosen_backbone or name
            self._chosen_precision = self._chosen_precision or precision

    @property
    def backbone(self) -> Backbone:
        """The frozen backbone. Raises BackboneError, or RegistryError where it is not the registry's."""
        if self._backbone is None:
            self._refuse_another_precision()
            self._refuse_another_name()
            loaded = pretrained.load(self.backbone_name, device=self.device, precision=self.backbone_precision)
            self._refuse_another(loaded)
            self._backbone = loaded
        return self._backbone

    def refuse_other_choices(self) -> None:
        """Raise RegistryError where another backbone, precision of it or router was chosen than the registry has.

        Nothing is fetched for it: a backbone is only loaded here if it is on this machine.
        """
        self.routing.refuse_another_kind()
        self._refuse_another_precision()
        known = self.registry.backbone
        if known is None or self._chosen_backbone in (None, known.name):
            return
        self._refuse_another_name()
        if pretrained.is_local(self.backbone_name):
            self._refuse_another(self.backbone)

    def _refuse_another_precision(self) -> None:
        if self._chosen_precision in (None, self.backbone_precision):
            return
        raise RegistryError(
            f"the registry in {self.registry.place} was made with its backbone's weights in {self.backbone_precision}, "
            f"and not in {self._chosen_precision}: leave out --backbone-precision, use another registry, or train its "
            f"tasks again with `cl-ast relearn --to REGISTRY --backbone-precision {self._chosen_precision}`"
        )

    def _refuse_another_name(self) -> None:
        """Raise RegistryError where the names alone say that the chosen backbone is another, before it is fetched.

        A folder may hold a copy of the registry's backbone, or anything may where the registry's folder has gone: then
        the weights have to be compared.
        """
        known, name = self.registry.backbone, self.backbone_name
        if known is None or pretrained.is_same_name(known.name, name) or pretrained.is_local(name):
            return
        if not Path(known.name).is_absolute() or Path(known.name).is_dir():
            raise RegistryError(
                f"the registry was made with the backbone {known.name}, and {name} is another; leave out --backbone, "
                f"use another registry, or train its tasks again with `cl-ast relearn --to REGISTRY --backbone {name}`"
            )

    def _refuse_another(self, loaded: Backbone) -> None:
        known = self.registry.backbone
        if known and known.fingerprint != loaded.fingerprint:
            if loaded.had_fingerprint(known.fingerprint):
                raise RegistryError(
                    f"the registry was made with {known.name} before the numbers in its preprocessor_config.json were "
                    f"used, and now they are part of the backbone: train its tasks again with `cl-ast relearn --to "
                    f"REGISTRY --backbone {loaded.name}`, or give --backbone a copy without that file"
                )
            if known.fingerprint in pretrained.FORMER_MINI and loaded.name == pretrained.MINI:
                raise RegistryError(
                    f"the registry in {self.registry.place} was made with the ast-mini of an earlier release, and this "
                    "one has better weights: train its tasks again with `cl-ast relearn --to REGISTRY --backbone "
                    "ast-mini`; the registry itself stays as it is"
                )
            raise RegistryError(
                f"the registry was made with the backbone {known.name} ({known.fingerprint[:12]}), and {loaded.name} "
                f"({loaded.fingerprint[:12]}) is another; leave out --backbone, use another registry, or train its "
                f"tasks again with `cl-ast relearn --to REGISTRY --backbone {loaded.name}`"
            )

    # The tasks

    def task(self, name: str) -> StoredTask:
        """Return a task as its file has it. Raises TaskNotFoundError, CorruptRegistryError."""
        if name in self._candidates:
            return self._candidates[name]
        return self.version(name, self.registry.current([name])[name])

    def model(self, name: str) -> TaskModel:
        """Return a task that is ready to answer. Raises TaskNotFoundError, CorruptRegistryError."""
        return self.task(name).model

    def versions(self, names: Iterable[str]) -> dict[str, VersionRecord]:
        """Return the versions that answer now for these tasks, by name. Raises TaskNotFoundError."""
        return self.registry.current({name for name in names if name not in self._candidates})

    def version(self, name: str, version: VersionRecord) -> StoredTask:
        """Return a version of a task; where it has gone meanwhile, the one that answers now."""
        try:
            return self._cache.get(version)
        except TaskNotFoundError:
            return self._cache.get(self.registry.task(name).version)

    def takes(self, name: str, version: VersionRecord | None) -> float:
        """Return how many seconds of a clip a task takes, from memory or else from the header of its file.

        Args:
            version: of the task; None for a candidate.

        Raises:
            TaskNotFoundError, CorruptRegistryError: its file is gone or damaged.
        """
        if version is None:
            return self.model(name).settings.front_end.seconds
        if self.is_cached(version):
            return self._cache.get(version).model.settings.front_end.seconds
        if version.adapter_sha256 not in self._seconds:
            try:
                self._seconds[version.adapter_sha256] = seconds_in(self.registry.read_adapter(version))
            except TaskNotFoundError:  # It has been replaced meanwhile.
                return self.model(name).settings.front_end.seconds
            except ClAstError as error:
                raise _named(error, version) from error
        return self._seconds[version.adapter_sha256]

    def is_cached(self, version: VersionRecord) -> bool:
        """Return whether a version is in memory."""
        return version in self._cache

    @property
    def cached_bytes(self) -> int:
        """How many bytes of tasks are in memory."""
        return self._cache.bytes

    def expect(self, versions: Iterable[VersionRecord]) -> None:
        """Begin to read, in a thread, versions that are needed soon."""
        self._cache.expect(versions)

    @contextmanager
    def candidate(self, name: str, task: StoredTask) -> Iterator[None]:
        """Let a task answer to its name inside the block, before it is committed."""
        self._candidates[name] = task
        try:
            yield
        finally:
            del self._candidates[name]

    def free_name(self, name: str, *, replace: bool) -> str:
        """Return the name for a task that is to be committed, as an existing task of that name spells it.

        Raises:
            RegistryError: nothing can be committed here, or it cannot be a name.
            TaskExistsError: the name is taken and `replace` is not given.
        """
        self.registry.require_writable()
        checked_stored(name)
        try:
            there = self.registry.task(name).name
        except TaskNotFoundError:
            return checked(name)
        if not replace:
            raise TaskExistsError(
                f"a task called {name} is there already; add --replace for a new version, or give --name"
            )
        return there

    # Shared parts

    def shared(self, sha256: str) -> Mapping[str, Tensor]:
        """Return the tensors of a shared part, which is loaded once. Raises CorruptRegistryError."""
        if sha256 not in self._shared:
            data = self.registry.read_shared(sha256)
            self._shared[sha256] = shared_part.from_bytes(data, self.backbone, self.methods)[1]
        return self._shared[sha256]

    def _load(self, version: VersionRecord) -> StoredTask:
        try:
            return from_bytes(self.registry.read_adapter(version), self.backbone, self.methods, self.shared)
        except ClAstError as error:
            raise _named(error, version) from error


def _named(error: ClAstError, version: VersionRecord) -> ClAstError:
    """Return the error with the name of the task that it concerns."""
    return error if version.task in str(error) else type(error)(f"{version.task}: {error}")


def _absolute(backbone: str | None) -> str | None:
    """Return the backbone's name, and a local folder as its whole path, because the registry keeps it."""
    if backbone is None or backbone == pretrained.MINI or backbone in pretrained.SHORT_NAMES:
        return backbone
    return str(Path(backbone).resolve()) if Path(backbone).is_dir() else backbone
