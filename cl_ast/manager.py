"""The facade: everything that can be done with a registry, its backbone and its tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
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
from cl_ast.sharing import exchange, hub
from cl_ast.tasks.merging import merged
from cl_ast.tasks.source import VersionSplit, split_of
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.distributed import ALONE, Group
from cl_ast.training.options import TrainOptions
from cl_ast.training.stopping import Stop, never
from registry import GcReport, LastChange, Registry, TaskRecord, Undone, VersionRecord


class Manager:
    """Many audio tasks over one frozen backbone, which is loaded when it is first needed. Not for several threads.

        with Manager.open("my-registry", backbone="ast-mini") as manager:
            manager.add_task(streams.load("path/to/clips"))
            for answer in manager.predict("clip.wav"):
                print(answer.labels[0] if answer.ok else answer.reason)

    `names=()` stands for all tasks. What cannot be done raises a ClAstError that says why, such as TaskNotFoundError.
    `registry` is what is stored, and `session` what of it is in memory.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        backbone: str | None = None,
        backbone_precision: str | None = None,
        device: str = "auto",
        methods: Mapping[str, Method] | None = None,
        memory: int = TASK_BYTES,
        router: str | None = None,
        group: Group | None = None,
    ) -> None:
        """Work with an open registry; the other arguments are those of `open`."""
        self.registry = registry
        self.group = group or ALONE
        self.session = Session(
            registry,
            backbone=backbone,
            backbone_precision=backbone_precision,
            device=device,
            methods=methods,
            memory=memory,
            router=router,
        )

    @classmethod
    def open(
        cls,
        location: str | Path,
        *,
        backbone: str | None = None,
        backbone_precision: str | None = None,
        device: str = "auto",
        methods: Mapping[str, Method] | None = None,
        memory: int = TASK_BYTES,
        router: str | None = None,
        group: Group | None = None,
        create: bool = True,
    ) -> Manager:
        """Open a registry, a folder or the URL of a team's; with `create`, make one where there is none.

        `cl_ast.inference.session.Session` explains the other arguments, and docs/performance.md `group`.
        """
        group = group or ALONE
        with group.main_first():
            registry = Registry.open(location, create=create)
        return cls(
            registry,
            backbone=backbone,
            backbone_precision=backbone_precision,
            device=device,
            methods=methods,
            memory=memory,
            router=router,
            group=group,
        )

    def close(self) -> None:
        """Close the registry and stop reading ahead."""
        self.session.close()
        self.registry.close()

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def backbone(self) -> Backbone:
        """The frozen backbone."""
        return self.session.backbone

    # The tasks

    def tasks(self, names: Sequence[str] = ()) -> list[TaskRecord]:
        """Return these tasks, or all of them in the order in which they were learned."""
        return [self.registry.task(name) for name in names] or self.registry.tasks()

    def show(self, name: str) -> tuple[TaskRecord, list[VersionRecord]]:
        """Return a task and its versions, oldest first."""
        return self.registry.task(name), self.registry.versions(name)

    def splits(self, name: str) -> VersionSplit:
        """Return which clip is in which split of a task."""
        return split_of(self.registry, self.registry.task(name).version)

    def rename(self, name: str, new: str) -> TaskRecord:
        """Give a task another name."""
        return self.registry.rename(name, new)

    def remove(self, name: str) -> None:
        """Remove a task; `undo` takes it back for 30 days."""
        self.registry.remove(name)

    def rollback(self, name: str, version: int | None = None) -> VersionRecord:
        """Go back to a version of a task, by default to the one before."""
        return self.registry.rollback(name, version)

    # Learning

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
        progress: Progress | None = None,
        stop: Stop | None = None,
    ) -> Learned:
        """Train one more task, measure every task after it, and commit it all in one transaction.

        What is None is decided by the recipe of the data set; `cl_ast.continual.planning.Request` explains each
        argument. Once `stop()` is True, the training ends with its best weights so far. Warns with ClAstWarning.
        """
        folder = None if negatives is None else Path(negatives)
        request = Request(
            method, options, pooling, positions, store, replace, resume, evaluate, folder, calibrate=calibrate
        )
        return add_task(self.session, task, request, group=self.group, progress=progress or silent, stop=stop or never)

    def relearn(
        self,
        target: Manager,
        names: Sequence[str] = (),
        *,
        method: str | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Learned | Skipped]:
        """Train tasks again in another registry, as they were recorded; yield each when it is done or skipped."""
        return relearn(self.tasks(names), self.registry, target.session, method, progress or silent)

    def route(
        self,
        names: Sequence[str] = (),
        progress: Progress | None = None,
        *,
        clips: str | Path | None = None,
        tuning: Tuning | None = None,
    ) -> dict[str, str]:
        """Rebuild the routing of tasks from their clips or (of one task) from `clips`, each as a new version.

        Returns the tasks whose clips are not at hand, with the reason: from now on they answer by name only.
        """
        records = self.tasks(names)
        self.registry.require_writable()  # before the work, and not after it
        return route(self.session, records, tuning or Tuning(), progress or silent, clips=clips, named=bool(names))

    # Measuring

    def evaluate(
        self, names: Sequence[str] = (), *, auto: bool = True, progress: Progress | None = None
    ) -> tuple[list[Measured], dict[str, str]]:
        """Measure tasks again, by name and, with `auto`, routed; record it; return it, and why others could not be."""
        return measure_again(self.session, self.tasks(names), auto=auto, progress=progress or silent)

    def evaluate_on(
        self, name: str, folder: str | Path, *, auto: bool = True, progress: Progress | None = None
    ) -> FolderTest:
        """Measure a task on a folder of labelled clips of your own, and record nothing."""
        record = self.registry.task(name)
        return measure_folder(self.session, record, Path(folder), auto=auto, progress=progress or silent)

    def stats(self) -> dict[str, Any]:
        """Return accuracy matrix, forgetting, routing and storage, as `cl-ast stats --format json` prints them."""
        return stats(self.registry)

    # Predicting

    def model(self, name: str) -> TaskModel:
        """Return a task that is ready to answer."""
        return self.session.model(name)

    def merged(self, name: str) -> TaskModel:
        """Return a task with its adapter folded into a copy of the backbone, where the method allows it; not stored."""
        return merged(self.model(name))

    def logits(self, waveforms: Sequence[Waveform], task: str) -> torch.Tensor:
        """Return the logits (n, classes) of 16 kHz waveforms by name; of long ones, the first seconds."""
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
        """Classify clips in order: yield a Prediction each (or one a window), or a Failure, whose `ok` is False.

        Clips are paths, open binary files, or 16 kHz mono waveforms as arrays of floats; one or several.
        `cl_ast.inference.prediction.Query` explains the other arguments.
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

    def export(self, name: str, path: str | Path, *, format: str = "folder") -> Path:
        """Write a task as a new folder, for other registries and, of LoRA, `peft`; or as one file by format="onnx"."""
        return exchange.export(self.session, name, Path(path), format)

    def import_(self, folder: str | Path, *, name: str | None = None, replace: bool = False) -> TaskRecord:
        """Import the task that a folder holds, as `export` or `peft` wrote it; nothing in it is run.

        It answers by name only, until `route` has learned its routing from clips of yours.
        """
        return exchange.import_(self.session, Path(folder), name, replace)

    def push(self, name: str, repository: str, *, public: bool = False, endpoint: str | None = None) -> str:
        """Export a task to a repository on the Hugging Face hub, private unless `public`; return its address."""
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
        """Import a task from the Hugging Face hub, as `import_` does."""
        folder = hub.pull(repository, revision=revision, endpoint=endpoint)
        return self.import_(folder, name=name, replace=replace)
