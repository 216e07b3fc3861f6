"""The one place that joins the parts: a registry, its backbone, the tasks' adapters, and the router."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

import streams
from cl_ast.adapters.method import Method
from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.spec import MethodSpec, parse
from cl_ast.audio.reading import Waveform
from cl_ast.backbone.backbone import Backbone
from cl_ast.continual.rebuild_routing import relearn, source_of
from cl_ast.environment import package_versions
from cl_ast.errors import (
    AudioError,
    StreamError,
)
from cl_ast.evaluation.accuracy import Measured, logits_of, measure
from cl_ast.evaluation.statistics import stats
from cl_ast.inference.predict import predict
from cl_ast.inference.prediction import Clip, Failure, Prediction, Window
from cl_ast.inference.routing import Routes
from cl_ast.inference.session import Held
from cl_ast.inference.task_cache import TASK_BYTES
from cl_ast.progress import Progress, silent
from cl_ast.router import Router, RouterSpace
from cl_ast.sharing import exchange, pull
from cl_ast.tasks.task_file import StoredTask, to_bytes
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.clips import labelled
from cl_ast.training.distributed import ALONE, Group
from cl_ast.training.quantising import rounded
from cl_ast.training.trainer import TrainOptions, train
from registry import Accuracy, NewVersion, Registry, TaskRecord


@dataclass(frozen=True, slots=True)
class Learned:
    """What `add_task` came to.

    Attributes:
        task: as it now stands in the registry.
        validation_accuracy, epoch: of the weights that were kept.
        measured: every task's test accuracy after it; empty with `evaluate=False`.
        skipped: earlier tasks that could not be measured, and why.
    """

    task: TaskRecord
    validation_accuracy: float
    epoch: int
    measured: tuple[Measured, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)


class Manager:
    """Many audio tasks over one frozen backbone.

        with Manager.open("my-registry", backbone="ast-mini") as manager:
            manager.add_task(streams.load("path/to/clips"))
            for answer in manager.predict(["clip.wav"]):
                print(answer.task, answer.labels[0])

    The backbone is loaded when it is first needed. Not to be shared between threads.
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
        self.methods = methods
        self._held = Held(registry, backbone, device, methods, memory)
        self._routes = Routes(self._held, router)

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
    ) -> "Manager":
        """Open a registry, or make one.

        Args:
            location: its folder, or the URL of a team's (docs/registry.md).
            backbone: the backbone of a new registry; an existing one keeps its own, and refuses another.
            device: "auto", "cpu", "cuda" or "mps".
            methods: the table of methods, with rows of your own where its tasks have some.
            memory: bytes of adapters that stay in memory; beyond, the task asked longest ago is read again when needed.
            router: of a new registry, "discriminant" or another (docs/routing.md); an existing one keeps its own.
            group: the processes that train a task together (docs/performance.md); each has a Manager of the registry.

        Raises:
            RegistryError: it cannot be opened, or the device is not there.
        """
        with group.main_first():
            registry = Registry.open(location)
        return cls(
            registry, backbone=backbone, device=device, methods=methods, memory=memory, router=router, group=group
        )

    def close(self) -> None:
        self._held.loaded.close()
        self.registry.close()

    def __enter__(self) -> "Manager":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The backbone

    @property
    def backbone_name(self) -> str:
        """The registry's backbone; of a new registry, the one asked for, or the best that is at hand."""
        return self._held.backbone_name

    @property
    def backbone(self) -> Backbone:
        """The frozen backbone. Raises BackboneError, or RegistryError where it is not the registry's."""
        return self._held.backbone

    @property
    def space(self) -> RouterSpace:
        """How the backbone describes clips to the router; measured once a registry and kept in it."""
        return self._routes.space

    # Learning

    def add_task(
        self,
        task: streams.Task,
        *,
        method: MethodSpec | str = "conformer",
        options: TrainOptions | None = None,
        pooling: str = "mean",
        positions: str = "resize",
        replace: bool = False,
        resume: bool = False,
        evaluate: bool = True,
        store: str = "auto",
        progress: Progress = silent,
    ) -> Learned:
        """Train one more task, measure every task after it, and commit it all in one transaction.

        Whatever stops it before the end (an error, Ctrl-C) leaves the registry as it was. A training of over a minute
        that was stopped can go on with `resume`, to the same weights.

        Args:
            store: how the file holds its numbers, one of `rounding.STORES`; what is kept is what is measured.

        Raises:
            TaskExistsError: the name is taken and `replace` is not given.
            MethodError, TrainingError, AudioError, StreamError, RegistryError: as each says.
        """
        options = options or TrainOptions()
        spec = parse(method, self.methods) if isinstance(method, str) else method
        if evaluate:
            self._routes.refuse_stale()  # before training, not after it
        task = dataclasses.replace(task, name=self._held.name_for(task.name, replace))
        front_end = self.backbone.front_end(task.clip_seconds)
        settings = TaskSettings(task.name, spec, task.labels, front_end, pooling, positions)
        fingerprint = task.fingerprint()
        model = TaskModel.fresh(settings, self.backbone, torch.Generator().manual_seed(options.seed))
        device = self.backbone.device
        checkpoint = self._held.checkpoint(settings, fingerprint, options)
        hear = self._routes.hearing.read  # the routing hears the same clips
        training = labelled(task.train, task.labels, front_end, device, hear)
        validation = labelled(task.validation, task.labels, front_end, device, hear)
        trained = train(
            model, training, validation, options, progress, checkpoint=checkpoint, resume=resume, group=self.group
        )
        if not self.group.main:
            self.group.wait()  # while the main process measures and commits
            return Learned(self.registry.task(task.name), trained.accuracy, trained.epoch, ())
        trained = rounded(model, trained, validation, store)
        routing = self._routes.learn(task, model, options.seed, progress)
        candidate = StoredTask(model, routing.tensors(), {})
        measured, skipped = self._measure_all(task, candidate, progress) if evaluate else ([], {})
        own = [one.oracle for one in measured if one.task == task.name]
        self._routes.keep_space()
        record = self.registry.commit(
            task.name,
            to_bytes(model, self.backbone, {}, routing.tensors()),
            NewVersion(
                method=spec.text,
                labels=task.labels,
                trainable_parameters=model.trainable_parameters(),
                seed=options.seed,
                seconds=trained.seconds,
                source=task.source.to_json(),
                data_fingerprint=fingerprint,
                protocol=task.protocol,
                packages=package_versions(),
                learned_accuracy=own[0] if own else None,
            ),
            [accuracy for one in measured for accuracy in _accuracies(one)],
            replace=replace,
        )
        checkpoint.drop()
        self.group.wait()
        return Learned(record, trained.accuracy, trained.epoch, tuple(measured), skipped)

    def route(self, names: Sequence[str] = (), progress: Progress = silent) -> dict[str, str]:
        """Learn the routing of tasks anew (all by default), each as a new version with the same adapter.

        Returns the tasks whose clips are not at hand, with the reason: from now on they answer by their name only.

        Raises:
            TaskNotFoundError: a name that is not there.
        """
        records = [self.registry.task(name) for name in names] or self.registry.tasks()
        return relearn(self._held, self._routes, records, progress)

    # Measuring

    def evaluate(
        self, names: Sequence[str] = (), *, auto: bool = True, progress: Progress = silent
    ) -> tuple[list[Measured], dict[str, str]]:
        """Measure tasks again (all by default), by name and by router, and record it.

        Returns what was measured, and the tasks that could not be with the reason.

        Raises:
            TaskNotFoundError: a name that is not there.
        """
        records = [self.registry.task(name) for name in names] or self.registry.tasks()
        router = self._routes.router() if auto else None
        measured, skipped = self._measure(
            [(record.name, record.version.source) for record in records], router, progress
        )
        if measured:
            self.registry.record([accuracy for one in measured for accuracy in _accuracies(one)])
        return measured, skipped

    def _measure_all(
        self, task: streams.Task, candidate: StoredTask, progress: Progress
    ) -> tuple[list[Measured], dict[str, str]]:
        """Every task with the new one beside it, before it is committed."""
        others = [record for record in self.registry.tasks() if record.name != task.name]
        with self._held.trying(task.name, candidate):
            router = self._routes.router({task.name: candidate})
            sources = [(record.name, record.version.source) for record in others]
            return self._measure([*sources, (task.name, {})], router, progress, task)

    def _measure(
        self,
        sources: Sequence[tuple[str, Mapping[str, object]]],
        router: Router | None,
        progress: Progress,
        at_hand: streams.Task | None = None,
    ) -> tuple[list[Measured], dict[str, str]]:
        measured, skipped = [], {}
        for name, source in sources:
            try:
                task = at_hand if at_hand and at_hand.name == name else streams.reload(source_of(source))
                space = self.space if router else None
                measured.append(measure(name, task.test, self.model, router, space, progress, self._routes.hearing))
            except (StreamError, AudioError) as error:
                if at_hand and at_hand.name == name:
                    raise
                # An earlier task whose clips have moved is no reason to lose the new one.
                skipped[name] = str(error)
        return measured, skipped

    # Answering

    def model(self, name: str) -> TaskModel:
        """One task, ready to answer. Raises TaskNotFoundError, CorruptRegistryError."""
        return self._held.stored(name).model

    def logits(self, waveforms: Sequence[Waveform], task: str) -> torch.Tensor:
        """Logits (n, classes) of 16 kHz waveforms under one task, asked by name."""
        return logits_of(self.model(task), waveforms)

    def predict(
        self,
        clips: Iterable[Clip],
        *,
        task: str = "auto",
        top_k: int | None = 5,
        window: Window | None = None,
        every: bool = False,
    ) -> Iterator[Prediction | Failure]:
        """Answer clips in order: a Prediction each (or one a window), or a Failure for one that cannot be read.

        Args:
            task: a name, or "auto" to let the router choose.
            top_k: how many labels; None for all.
            every: with "auto", answer from every task that a clip is known to, the best first, or from the nearest.

        Raises:
            TaskNotFoundError: no such task, or no task at all.
        """
        return predict(self._held, self._routes, clips, task, top_k, window, every)

    def stats(self) -> dict[str, Any]:
        """Accuracy matrix, forgetting, routing and storage, as `cl-ast stats --format json` prints them."""
        return stats(self.registry)

    # Sharing

    def export(self, name: str, folder: str | Path) -> Path:
        """Write a task as a folder that another registry imports, and `peft` where the method is LoRA.

        Raises:
            TaskNotFoundError: no such task.
            RegistryError: the folder holds something already, or cannot be written.
        """
        return exchange.export(self._held, name, Path(folder))

    def import_(self, folder: str | Path, *, name: str | None = None, replace: bool = False) -> TaskRecord:
        """Keep the task that a folder holds, whoever wrote it. Nothing in it is run, and nothing is kept in part.

        Args:
            folder: as `export` or `peft` wrote it (docs/registry.md).
            name: what to call the task; its own name by default.
            replace: make it the next version of a task of that name.

        Raises:
            TaskExistsError: the name is taken and `replace` is not given.
            CorruptRegistryError, RegistryError, MethodError: the folder cannot be imported, and why.
        """
        return exchange.import_(self._held, self._routes, Path(folder), name, replace)

    def push(self, name: str, repository: str, *, public: bool = False, endpoint: str | None = None) -> str:
        """Export a task to a repository on the Hugging Face hub, private unless `public`; returns its address.

        Raises:
            TaskNotFoundError: no such task.
            RegistryError: the hub cannot be reached, or refuses.
        """
        return exchange.push(self._held, name, repository, public, endpoint)

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
        folder = pull(repository, revision=revision, endpoint=endpoint)
        return self.import_(folder, name=name, replace=replace)


def _accuracies(measured: Measured) -> list[Accuracy]:
    out = [Accuracy(measured.task, "oracle", measured.oracle, measured.clips)]
    if measured.auto is not None:
        out.append(Accuracy(measured.task, "auto", measured.auto, measured.clips, measured.routed or {}))
    return out
