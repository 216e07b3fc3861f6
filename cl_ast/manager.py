"""The facade: everything that can be done with a registry, its backbone and its tasks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

import streams
from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.spec import MethodSpec
from cl_ast.audio.reading import AudioInput, Waveform
from cl_ast.audio.windows import Failure, Window
from cl_ast.backbone.backbone import Backbone
from cl_ast.continual.add_task import Learned, Request, add_task
from cl_ast.continual.rebuild_routing import rebuild_routing, route_with
from cl_ast.continual.relearn import Skipped, relearn
from cl_ast.errors import RegistryError
from cl_ast.evaluation.accuracy import Measured, measure_stored
from cl_ast.evaluation.statistics import stats
from cl_ast.inference.answering import logits_of
from cl_ast.inference.predicting import predict
from cl_ast.inference.prediction import AUTO, Prediction, Query
from cl_ast.inference.session import Session
from cl_ast.inference.task_cache import TASK_BYTES
from cl_ast.progress import Progress, silent
from cl_ast.router import RouterSpace
from cl_ast.sharing import exchange, hub
from cl_ast.tasks.merging import merged
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.distributed import ALONE, Group
from cl_ast.training.options import TrainOptions
from cl_ast.training.recipes import Recipe, recipe_for
from registry import GcReport, LastChange, Registry, TaskRecord, Undone


class Manager:
    """Many audio tasks over one frozen backbone.

        with Manager.open("my-registry", backbone="ast-mini") as manager:
            manager.add_task(streams.load("path/to/clips"))
            for answer in manager.predict(["clip.wav"]):
                print(answer.task, answer.labels[0])

    The backbone is loaded when it is first needed. Not to be shared between threads.

    Attributes:
        registry: what is stored.
        session: what of it is in memory.
        group: the processes that train a task together.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        backbone: str | None = None,
        device: str = "auto",
        methods: Mapping[str, Method] = METHODS,
        memory: int = TASK_BYTES,
        router: str | None = None,
        group: Group = ALONE,
    ) -> None:
        self.registry = registry
        self.group = group
        self.session = Session(
            registry, backbone=backbone, device=device, methods=methods, memory=memory, router=router
        )

    @classmethod
    def open(
        cls,
        location: str | Path,
        *,
        backbone: str | None = None,
        device: str = "auto",
        methods: Mapping[str, Method] = METHODS,
        memory: int = TASK_BYTES,
        router: str | None = None,
        group: Group = ALONE,
        create: bool = True,
    ) -> "Manager":
        """Open a registry, or make one.

        Args:
            location: its folder, or the URL of a team's (docs/registry.md).
            backbone: the backbone of a new registry; an existing one keeps its own, and refuses another.
            device: "auto", "cpu", "cuda" or "mps".
            methods: the table of methods, with rows of your own where its tasks have some.
            memory: how many bytes of tasks stay in memory; beyond, the task used longest ago is read again when needed.
            router: of a new registry, "discriminant" or another (docs/routing.md); an existing one keeps its own.
            group: the processes that train a task together (docs/performance.md); each has a Manager of the registry.
            create: make the registry where there is none.

        Raises:
            RegistryError: it cannot be opened, or there is none and `create` is False.
            ClAstError: the device is not there.
        """
        with group.main_first():
            registry = Registry.open(location, create=create)
        return cls(
            registry, backbone=backbone, device=device, methods=methods, memory=memory, router=router, group=group
        )

    def close(self) -> None:
        """Close the registry and stop reading ahead."""
        self.session.close()
        self.registry.close()

    def __enter__(self) -> "Manager":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The backbone

    @property
    def methods(self) -> Mapping[str, Method]:
        """The table of methods."""
        return self.session.methods

    @property
    def backbone_name(self) -> str:
        """The registry's backbone; of a new registry, the one that was chosen, or the best that is at hand."""
        return self.session.backbone_name

    @property
    def backbone(self) -> Backbone:
        """The frozen backbone. Raises BackboneError, or RegistryError where it is not the registry's."""
        return self.session.backbone

    @property
    def space(self) -> RouterSpace:
        """How the backbone describes clips to the router; measured once a registry and kept in it."""
        return self.session.routing.space

    # Learning

    def recipe(self, task: streams.Task) -> Recipe:
        """Return how a task is trained here unless asked otherwise: method, pooling, epochs, batch and masks."""
        return recipe_for(task.source.task, self.backbone)

    def add_task(
        self,
        task: streams.Task,
        *,
        method: MethodSpec | str | None = None,
        options: TrainOptions | None = None,
        pooling: str | None = None,
        positions: str = "resize",
        replace: bool = False,
        resume: bool = False,
        evaluate: bool = True,
        store: str = "auto",
        calibrate: bool = True,
        progress: Progress = silent,
    ) -> Learned:
        """Train one more task, measure every task after it, and commit it all in one transaction.

        Whatever stops it before the end (an error, Ctrl-C) leaves the registry as it was. A training of over a minute
        that was stopped can go on with `resume`, to the same weights.

        Args:
            method, options, pooling: None, and what `options` leaves open, is the recipe's (`Manager.recipe`).
            positions: "resize" fits the position embeddings to the clip; "zeros" leaves them out.
            replace: make a new version of a task of that name.
            evaluate: measure every task afterwards.
            store: how the file holds its numbers, one of `STORES`; what is kept is what is measured.
            calibrate: fit a temperature to validation clips, which calibrates the probabilities.

        Warns:
            ClAstWarning: its routing could not be learned, so that it answers by name only; or training clips are
                longer than it takes.

        Raises:
            TaskExistsError: the name is taken and `replace` is not given.
            MethodError, TrainingError, AudioError, StreamError, RegistryError: as each says.
        """
        request = Request(method, options, pooling, positions, store, replace, resume, evaluate, calibrate)
        return add_task(self.session, task, request, group=self.group, progress=progress)

    def relearn(
        self, target: "Manager", names: Sequence[str] = (), *, method: str | None = None, progress: Progress = silent
    ) -> Iterator[Learned | Skipped]:
        """Train tasks (all by default) again in another registry, from their recorded sources and options.

        This is the way to a better backbone. Each task is yielded when it is done; one that `target` has already, or
        whose clips are not at hand, is skipped with the reason.

        Raises:
            TaskNotFoundError: a name that is not there; nothing is trained then.
        """
        return relearn(self._records(names), self.registry, target.session, method, progress)

    def route(
        self, names: Sequence[str] = (), progress: Progress = silent, *, clips: str | Path | None = None
    ) -> dict[str, str]:
        """Rebuild the routing of tasks (all by default), each as a new version with the same adapter.

        Returns the tasks whose clips are not at hand, with the reason: from now on they answer by name only.

        Args:
            clips: a folder of clips, labelled or not, that the routing of one task is learned from: it lets the router
                choose an imported task.

        Raises:
            TaskNotFoundError: a name that is not there.
            RegistryError: `clips` is given for no task, or for several.
            StreamError, AudioError, NotFiniteError: with `clips`, the routing cannot be learned; nothing is changed.
        """
        records = self._records(names)
        self.registry.require_writable()  # before the work, and not after it
        if clips is None:
            return rebuild_routing(self.session, records, progress, named=bool(names))
        if len(names) != 1:
            raise RegistryError("a folder of clips is for the routing of one task; name that task")
        route_with(self.session, records[0], Path(clips), progress)
        return {}

    # Measuring

    def evaluate(
        self, names: Sequence[str] = (), *, auto: bool = True, progress: Progress = silent
    ) -> tuple[list[Measured], dict[str, str]]:
        """Measure tasks again (all by default), by name and, with `auto`, routed; and record it.

        Returns what was measured, and the tasks that could not be with the reason.

        Raises:
            TaskNotFoundError: a name that is not there.
        """
        records = self._records(names)
        self.registry.require_writable()  # before the work, and not after it
        router = self.session.routing.router() if auto else None
        measured, skipped = measure_stored(self.session, records, router, progress)
        if measured:
            self.registry.record([accuracy for one in measured for accuracy in one.records()])
        return measured, skipped

    def stats(self) -> dict[str, Any]:
        """Return accuracy matrix, forgetting, routing and storage, as `cl-ast stats --format json` prints them."""
        return stats(self.registry)

    # Predicting

    def model(self, name: str) -> TaskModel:
        """Return a task that is ready to answer. Raises TaskNotFoundError, CorruptRegistryError."""
        return self.session.model(name)

    def merged(self, name: str) -> TaskModel:
        """Return a task with its adapter folded into a copy of the backbone: the same answers at no extra cost.

        It is to answer with, and is not stored.

        Raises:
            TaskNotFoundError: no such task.
            MethodError: the method is no update of the backbone's weights, such as a bottleneck or a prompt.
        """
        return merged(self.model(name))

    def logits(self, waveforms: Sequence[Waveform], task: str) -> torch.Tensor:
        """Return the logits (n, classes) of 16 kHz waveforms under one task, by name; of long ones, the first seconds.

        Raises:
            NotFiniteError: one of them is not a number.
        """
        return logits_of(self.model(task), waveforms)

    def predict(
        self,
        clips: Iterable[AudioInput],
        *,
        task: str = AUTO,
        top_k: int | None = 5,
        window: Window | None = None,
        every: bool = False,
        whole: bool = False,
    ) -> Iterator[Prediction | Failure]:
        """Classify clips in order: a Prediction each (or one a window), or a Failure for one that cannot be read.

        A Failure also stands for the answer of a task that is not made of numbers. The windows of a clip that is longer
        than its task takes are joined into one answer (docs/long-recordings.md).

        Args:
            task: a name, or "auto" to let the router choose.
            top_k: how many labels; None for all.
            every: with "auto", answer from every task that a clip is known to, the best first, or from the nearest.
            whole: of a longer clip, classify the first seconds only.

        Raises:
            TaskNotFoundError: no such task, or no task at all.
        """
        return self.answer(clips, Query(task, top_k, window, every, whole))

    def answer(self, clips: Iterable[AudioInput], query: Query) -> Iterator[Prediction | Failure]:
        """Classify clips as `predict` does, for a query that was put together before."""
        return predict(self.session, clips, query)

    # Taking back

    def undo(self, expected: LastChange | None = None) -> Undone:
        """Take the last change of the tasks back, as `Registry.undo` does; `registry.last_change()` says what it was.

        Raises:
            RegistryError: there is no change, its files are gone, or another came after the expected one.
        """
        return self.registry.undo(expected)

    def gc(self, names: Sequence[str] = (), *, dry_run: bool = False, empty_trash: bool = False) -> GcReport:
        """Move old versions and leftovers to the trash, as `Registry.gc` does.

        Raises:
            RegistryError: one of `names` is no adapter that the database does not know.
        """
        return self.registry.gc(names, dry_run=dry_run, empty_trash=empty_trash)

    # Sharing

    def export(self, name: str, folder: str | Path) -> Path:
        """Write a task as a folder that another registry imports, and `peft` where the method is LoRA.

        Raises:
            TaskNotFoundError: no such task.
            RegistryError: the folder holds something already, or cannot be written.
        """
        return exchange.export(self.session, name, Path(folder))

    def import_(self, folder: str | Path, *, name: str | None = None, replace: bool = False) -> TaskRecord:
        """Import the task that a folder holds, whoever wrote it. Nothing in it is run, and nothing is kept in part.

        Its routing is left out: the task answers by name only until `route` learns its routing from clips here.

        Args:
            folder: as `export` or `peft` wrote it (docs/registry.md).
            name: what to call the task; its own name by default.
            replace: make it the next version of a task of that name.

        Raises:
            TaskExistsError: the name is taken and `replace` is not given.
            CorruptRegistryError, RegistryError, MethodError: the folder cannot be imported, and why.
        """
        return exchange.import_(self.session, Path(folder), name, replace)

    def push(self, name: str, repository: str, *, public: bool = False, endpoint: str | None = None) -> str:
        """Export a task to a repository on the Hugging Face hub, private unless `public`; return its address.

        Raises:
            TaskNotFoundError: no such task.
            RegistryError: the hub cannot be reached, or refuses.
        """
        return exchange.push(self.session, name, repository, public, endpoint)

    def pull(
        self,
        repository: str,
        *,
        revision: str | None = None,
        name: str | None = None,
        replace: bool = False,
        endpoint: str | None = None,
    ) -> TaskRecord:
        """Import a task from the Hugging Face hub; as `import_`, and as little trusted."""
        folder = hub.pull(repository, revision=revision, endpoint=endpoint)
        return self.import_(folder, name=name, replace=replace)

    def _records(self, names: Sequence[str]) -> list[TaskRecord]:
        """Return these tasks, or all of them for no names. Raises TaskNotFoundError."""
        return [self.registry.task(name) for name in names] or self.registry.tasks()
