"""The facade: everything that can be done with a registry, its backbone and its tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

import streams
from cl_ast.adapters.method import Method
from cl_ast.adapters.spec import MethodSpec
from cl_ast.audio.reading import AudioInput, Waveform
from cl_ast.audio.windows import Failure, Window
from cl_ast.backbone.backbone import Backbone
from cl_ast.continual.add_task import Learned, add_task
from cl_ast.continual.planning import Request
from cl_ast.continual.rebuild_routing import Tuning, route
from cl_ast.continual.relearn import Skipped, relearn
from cl_ast.evaluation.accuracy import Measured, measure_again
from cl_ast.evaluation.own_folder import FolderTest, measure_folder
from cl_ast.evaluation.statistics import stats
from cl_ast.inference.answering import logits_of
from cl_ast.inference.inputs import Clips, inputs_of
from cl_ast.inference.predicting import predict
from cl_ast.inference.prediction import AUTO, Prediction, Query
from cl_ast.inference.session import Session
from cl_ast.inference.task_cache import TASK_BYTES
from cl_ast.progress import Progress, silent
from cl_ast.router import RouterSpace
from cl_ast.sharing import exchange, hub
from cl_ast.tasks.merging import merged
from cl_ast.tasks.source import VersionSplit, split_of
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.distributed import ALONE, Group
from cl_ast.training.options import TrainOptions
from cl_ast.training.recipes import Recipe, recipe_for
from cl_ast.training.stopping import Stop, never
from registry import GcReport, LastChange, Registry, TaskRecord, Undone, VersionRecord


class Manager:
    """Many audio tasks over one frozen backbone, which is loaded when it is first needed. Not for several threads.

        with Manager.open("my-registry", backbone="ast-mini") as manager:
            manager.add_task(streams.load("path/to/clips"))
            for answer in manager.predict("clip.wav"):
                print(answer.labels[0] if answer.ok else answer.reason)

    Every method that takes a task's name raises TaskNotFoundError where there is none.

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
        methods: Mapping[str, Method] | None = None,
        memory: int = TASK_BYTES,
        router: str | None = None,
        group: Group | None = None,
    ) -> None:
        """Work with an open registry; the arguments are those of `open`."""
        self.registry = registry
        self.group = group or ALONE
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
        methods: Mapping[str, Method] | None = None,
        memory: int = TASK_BYTES,
        router: str | None = None,
        group: Group | None = None,
        create: bool = True,
    ) -> Manager:
        """Open a registry, or with `create` make one where there is none.

        Args:
            location: its folder, or the URL of a team's (docs/registry.md).
            backbone, router: of a new registry; an existing one keeps its own, and refuses others.
            device: "auto", "cpu", "cuda", "cuda:1" or "mps".
            methods: the table of methods, with rows of your own where its tasks have some; `METHODS` by default.
            memory: how many bytes of tasks stay in memory; beyond, those used longest ago are read again when needed.
            group: the processes that train a task together (docs/performance.md); each has a Manager of the registry.

        Raises RegistryError where it cannot be opened, or there is none; ClAstError where the device is not there.
        """
        group = group or ALONE
        with group.main_first():
            registry = Registry.open(location, create=create)
        return cls(
            registry, backbone=backbone, device=device, methods=methods, memory=memory, router=router, group=group
        )

    def close(self) -> None:
        """Close the registry and stop reading ahead."""
        self.session.close()
        self.registry.close()

    def __enter__(self) -> Manager:
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

    # The tasks

    def tasks(self, names: Sequence[str] = ()) -> list[TaskRecord]:
        """Return these tasks, or all of them in the order in which they were learned."""
        return [self.registry.task(name) for name in names] or self.registry.tasks()

    def show(self, name: str) -> tuple[TaskRecord, list[VersionRecord]]:
        """Return a task and its versions, oldest first."""
        return self.registry.task(name), self.registry.versions(name)

    def splits(self, name: str) -> VersionSplit:
        """Return which clip is in which split of a task. Raises StreamError where its clips are not at hand."""
        return split_of(self.registry, self.registry.task(name).version)

    def rename(self, name: str, new: str) -> TaskRecord:
        """Give a task another name. Raises TaskExistsError, and RegistryError for a name that cannot be one."""
        return self.registry.rename(name, new)

    def remove(self, name: str) -> None:
        """Remove a task; `undo` takes it back for 30 days."""
        self.registry.remove(name)

    def rollback(self, name: str, version: int | None = None) -> VersionRecord:
        """Go back to a version of a task, by default to the one before. Raises RegistryError where there is none."""
        return self.registry.rollback(name, version)

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
        negatives: str | Path | None = None,
        calibrate: bool = True,
        progress: Progress = silent,
        stop: Stop = never,
    ) -> Learned:
        """Train one more task, measure every task after it, and commit it all in one transaction.

        Whatever stops it before the end leaves the registry as it was; a training of over a minute can then go on with
        `resume`.

        Args:
            method, options, pooling: None, and what `options` leaves open, is the recipe's (`Manager.recipe`).
            replace: make a new version of a task of that name, which else raises TaskExistsError.
            evaluate: measure every task afterwards.
            store: how the file holds its numbers, one of `STORES`; what is kept is what is measured.
            stop: called after each step of the training; where it returns True, the best weights so far are kept.
            negatives: a folder of sounds that are none of the classes, so that the router calls their like unknown.
            calibrate: fit a temperature to validation clips, which calibrates the probabilities.

        Warns with ClAstWarning where its routing could not be learned, or training clips are longer than it takes.
        Raises MethodError, TrainingError, AudioError, StreamError and RegistryError, as each says.
        """
        folder = None if negatives is None else Path(negatives)
        request = Request(
            method, options, pooling, positions, store, replace, resume, evaluate, folder, calibrate=calibrate
        )
        return add_task(self.session, task, request, group=self.group, progress=progress, stop=stop)

    def relearn(
        self, target: Manager, names: Sequence[str] = (), *, method: str | None = None, progress: Progress = silent
    ) -> Iterator[Learned | Skipped]:
        """Train tasks (all by default) again in another registry, from their recorded sources and options.

        Each task is yielded when it is done; one that is there already, or whose clips are not at hand, is skipped.
        """
        return relearn(self.tasks(names), self.registry, target.session, method, progress)

    def route(
        self,
        names: Sequence[str] = (),
        progress: Progress = silent,
        *,
        clips: str | Path | None = None,
        tuning: Tuning | None = None,
    ) -> dict[str, str]:
        """Rebuild the routing of tasks (all by default), each as a new version with the same adapter.

        Returns the tasks whose clips are not at hand, with the reason: from now on they answer by name only.

        Args:
            clips: a folder of clips that the routing of one task, such as an import, is learned from. Raises
                StreamError, AudioError or NotFiniteError where it cannot be, and nothing is changed.
            tuning: another limit for "unknown", or negatives; the limit alone changes at once, and needs no clips.
        """
        records = self.tasks(names)
        self.registry.require_writable()  # before the work, and not after it
        return route(self.session, records, tuning or Tuning(), progress, clips=clips, named=bool(names))

    # Measuring

    def evaluate(
        self, names: Sequence[str] = (), *, auto: bool = True, progress: Progress = silent
    ) -> tuple[list[Measured], dict[str, str]]:
        """Measure tasks again (all by default), by name and, with `auto`, routed; and record it.

        Returns what was measured, and the tasks that could not be with the reason.
        """
        return measure_again(self.session, self.tasks(names), auto=auto, progress=progress)

    def evaluate_on(
        self, name: str, folder: str | Path, *, auto: bool = True, progress: Progress = silent
    ) -> FolderTest:
        """Measure a task on a folder of labelled clips of your own, and record nothing.

        Raises StreamError, AudioError or NotFiniteError where the folder, a clip or an answer cannot be used.
        """
        return measure_folder(self.session, self.registry.task(name), Path(folder), auto=auto, progress=progress)

    def stats(self) -> dict[str, Any]:
        """Return accuracy matrix, forgetting, routing and storage, as `cl-ast stats --format json` prints them."""
        return stats(self.registry)

    # Predicting

    def model(self, name: str) -> TaskModel:
        """Return a task that is ready to answer. Raises CorruptRegistryError where its file is damaged."""
        return self.session.model(name)

    def merged(self, name: str) -> TaskModel:
        """Return a task with its adapter folded into a copy of the backbone: the same answers at no extra cost.

        It is not stored. Raises MethodError where the method is no update of the backbone's weights.
        """
        return merged(self.model(name))

    def logits(self, waveforms: Sequence[Waveform], task: str) -> torch.Tensor:
        """Return the logits (n, classes) of 16 kHz waveforms by name; of long ones, the first seconds.

        Raises NotFiniteError.
        """
        return logits_of(self.model(task), waveforms)

    def predict(
        self,
        clips: Clips,
        *,
        task: str = AUTO,
        top_k: int | None = 5,
        window: Window | None = None,
        every: bool = False,
        alpha: float | None = None,
        whole: bool = False,
    ) -> Iterator[Prediction | Failure]:
        """Classify clips in order: a Prediction each (or one a window), or a Failure, whose `ok` is False.

        The windows of a clip that is longer than its task takes are joined into one answer (docs/long-recordings.md).

        Args:
            clips: one clip or several: paths, open binary files, or 16 kHz mono waveforms as arrays of floats.
            task: a name, or "auto" to let the router choose.
            top_k: how many labels; None for all.
            every: with "auto", answer from every task that a clip is known to, or from the nearest.
            alpha: with "auto", the p-value below which a clip is unknown; None for the limit of each task.
            whole: of a longer clip, classify the first seconds only.
        """
        return self.answer(inputs_of(clips), Query(task, top_k, window, every, alpha, whole))

    def answer(self, clips: Iterable[AudioInput], query: Query) -> Iterator[Prediction | Failure]:
        """Classify clips as `predict` does, for a query that was put together before."""
        return predict(self.session, clips, query)

    # Taking back

    def undo(self, expected: LastChange | None = None) -> Undone:
        """Take the last change of the tasks back, as `Registry.undo` says; `registry.last_change()` names it."""
        return self.registry.undo(expected)

    def gc(self, names: Sequence[str] = (), *, dry_run: bool = False, empty_trash: bool = False) -> GcReport:
        """Move old versions and leftovers to the trash, as `Registry.gc` says."""
        return self.registry.gc(names, dry_run=dry_run, empty_trash=empty_trash)

    # Sharing

    def export(self, name: str, folder: str | Path) -> Path:
        """Write a task as a folder that another registry imports, and `peft` where the method is LoRA.

        Raises RegistryError where the folder is not empty, or cannot be written.
        """
        return exchange.export(self.session, name, Path(folder))

    def import_(self, folder: str | Path, *, name: str | None = None, replace: bool = False) -> TaskRecord:
        """Import the task that a folder holds, as `export` or `peft` wrote it; its routing is left out.

        It may come from anybody: nothing in it is run, and nothing is kept in part. The task answers by name only until
        `route` learns its routing from clips here. `replace` makes it the next version of a task of that name, which
        else raises TaskExistsError. Raises RegistryError or MethodError where the folder cannot be imported.
        """
        return exchange.import_(self.session, Path(folder), name, replace)

    def push(self, name: str, repository: str, *, public: bool = False, endpoint: str | None = None) -> str:
        """Export a task to a repository on the Hugging Face hub, private unless `public`; return its address.

        Raises RegistryError where the hub cannot be reached, or refuses.
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
