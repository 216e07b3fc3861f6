"""The one place that joins the parts: a registry, its trunk, the tasks' adapters, and the router."""

import dataclasses
import hashlib
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import platformdirs
import torch

import streams
from cl_ast import checkpoints, sharing
from cl_ast.adapters.methods import METHODS
from cl_ast.adapters.row import Method
from cl_ast.adapters.spec import MethodSpec, parse
from cl_ast.audio import Waveform
from cl_ast.backbone import Backbone
from cl_ast.checkpointing import Checkpoint
from cl_ast.clips import ClipSet, chunks, labelled, read_all
from cl_ast.errors import (
    AudioError,
    ClAstError,
    RegistryError,
    StreamError,
    TaskExistsError,
    TaskNotFoundError,
)
from cl_ast.frontend import FrontEnd
from cl_ast.machine import package_versions, pick_device
from cl_ast.measuring import Measured, answer, logits_of, measure
from cl_ast.prediction import Clip, Failure, Piece, Prediction, Window, pieces
from cl_ast.progress import Report, Step, silent
from cl_ast.router import Route, Router, RouterSpace, TaskRouting, learn
from cl_ast.stats import stats
from cl_ast.task_model import StoredTask, TaskModel, TaskSettings, from_bytes, label_scores
from cl_ast.training import TrainOptions, train
from registry import Accuracy, BackboneRecord, NewVersion, Registry, TaskRecord
from registry.names import checked

_ROUTER_CLIPS = 2_000  # training clips that make a task's prototypes, at most
_PREDICT_CHUNK = 32


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
    """Many audio tasks over one frozen trunk.

        with Manager.open("my-registry", backbone="ast-mini") as manager:
            manager.add_task(streams.load("path/to/clips"))
            for answer in manager.predict(["clip.wav"]):
                print(answer.task, answer.labels[0])

    The trunk is loaded when it is first needed. Not to be shared between threads.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        backbone: str | None = None,
        device: str = "auto",
        methods: Mapping[str, Method] = METHODS,
    ) -> None:
        self.registry = registry
        self.methods = methods
        self.device = pick_device(device)
        self._asked = _from_everywhere(backbone)
        self._backbone: Backbone | None = None
        self._space: RouterSpace | None = None
        self._loaded: dict[str, StoredTask] = {}

    @classmethod
    def open(
        cls,
        location: str | Path,
        *,
        backbone: str | None = None,
        device: str = "auto",
        methods: Mapping[str, Method] = METHODS,
    ) -> "Manager":
        """Open a registry, or make one.

        Args:
            location: its folder.
            backbone: the trunk of a new registry; an existing one keeps its own, and refuses another.
            device: "auto", "cpu", "cuda" or "mps".
            methods: the table of methods, with rows of your own where its tasks have some.

        Raises:
            RegistryError: it cannot be opened, or the device is not there.
        """
        return cls(Registry.open(location), backbone=backbone, device=device, methods=methods)

    def close(self) -> None:
        self.registry.close()

    def __enter__(self) -> "Manager":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The trunk

    @property
    def backbone_name(self) -> str:
        """The registry's trunk; of a new registry, the one asked for, or the best that is at hand."""
        known = self.registry.backbone
        if self._asked is None:
            self._asked = known.name if known else checkpoints.default_name()
        return self._asked

    @property
    def backbone(self) -> Backbone:
        """The frozen trunk. Raises BackboneError, or RegistryError where it is not the registry's."""
        if self._backbone is None:
            loaded = checkpoints.load(self.backbone_name, device=self.device)
            self._refuse_other_trunk(loaded)
            self._backbone = loaded
        return self._backbone

    @property
    def space(self) -> RouterSpace:
        """How the trunk describes clips to the router; measured once a registry and kept in it."""
        if self._space is None:
            known = self.registry.backbone
            if known and known.background:
                self._space = RouterSpace.from_bytes(known.background, self.backbone)
            else:
                self._space = RouterSpace.of(self.backbone)
        return self._space

    def _refuse_other_trunk(self, loaded: Backbone) -> None:
        known = self.registry.backbone
        if known and known.fingerprint != loaded.fingerprint:
            raise RegistryError(
                f"the registry was made with the trunk {known.name} ({known.fingerprint[:12]}), and {loaded.name} "
                f"({loaded.fingerprint[:12]}) is another; leave out --backbone, or use another registry"
            )

    def _keep_trunk(self) -> None:
        """Say in the registry which trunk it is for; at the first task, not before."""
        if self.registry.backbone is None or not self.registry.backbone.background:
            trunk = self.backbone
            self.registry.set_backbone(
                BackboneRecord(trunk.name, trunk.fingerprint, trunk.parameters, trunk.bytes, self.space.to_bytes())
            )

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
        report: Report = silent,
    ) -> Learned:
        """Train one more task, measure every task after it, and commit it all in one transaction.

        Whatever stops it before the end (an error, Ctrl-C) leaves the registry as it was. A training of over a minute
        that was stopped can go on with `resume`, to the same weights.

        Raises:
            TaskExistsError: the name is taken and `replace` is not given.
            MethodError, TrainingError, AudioError, StreamError, RegistryError: as each says.
        """
        options = options or TrainOptions()
        spec = parse(method, self.methods) if isinstance(method, str) else method
        task = dataclasses.replace(task, name=self._name_for(task.name, replace))
        front_end = FrontEnd.for_seconds(task.clip_seconds)
        settings = TaskSettings(task.name, spec, task.labels, front_end, pooling, positions)
        fingerprint = task.fingerprint()
        model = TaskModel.fresh(settings, self.backbone, torch.Generator().manual_seed(options.seed))
        checkpoint = self._checkpoint(settings, fingerprint, options)
        trained = train(
            model,
            self._clips(task, "train", front_end),
            self._clips(task, "validation", front_end),
            options,
            report,
            checkpoint=checkpoint,
            resume=resume,
        )
        routing = self._learn_routing(task, options.seed, report)
        candidate = StoredTask(model, routing.tensors(), {})
        measured, skipped = self._measure_all(task, candidate, report) if evaluate else ([], {})
        own = [one.oracle for one in measured if one.task == task.name]
        self._keep_trunk()
        record = self.registry.commit(
            task.name,
            model.to_bytes(self.backbone, {}, routing.tensors()),
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
        self._loaded[record.version.adapter_sha256] = candidate
        return Learned(record, trained.accuracy, trained.epoch, tuple(measured), skipped)

    def _name_for(self, name: str, replace: bool) -> str:
        """The task's name, as an existing task spells it; fails before training, not after it."""
        if not self.registry.writable:
            raise RegistryError(
                f"the registry in {self.registry.folder} cannot be written by you, only read; "
                "change the folder's permissions or name another registry"
            )
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

    def _checkpoint(self, settings: TaskSettings, data: str, options: TrainOptions) -> Checkpoint:
        """Outside the registry, which an interrupted training must leave as it was."""
        place = f"{self.registry.folder.resolve()}\n{settings.name}"
        name = hashlib.sha256(place.encode()).hexdigest()[:32]
        path = Path(platformdirs.user_cache_dir("cl-ast")) / "training" / f"{name}.safetensors"
        what = {**asdict(settings), "data": data, "trunk": self.backbone.fingerprint, **asdict(options)}
        return Checkpoint(path, what | {"method": settings.method.text})

    def _clips(self, task: streams.Task, split: str, front_end: FrontEnd) -> ClipSet:
        return labelled(getattr(task, split), task.labels, front_end, self.backbone.device)

    def _learn_routing(self, task: streams.Task, seed: int, report: Report) -> TaskRouting:
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(task.train), generator=generator)[:_ROUTER_CLIPS].sort().values.tolist()
        training = [task.train[index] for index in order]
        index = {label: position for position, label in enumerate(task.labels)}
        return learn(
            self._describe(training, "learning the route", report),
            [index[clip.label] for clip in training],
            self._describe(task.validation[:_ROUTER_CLIPS], "calibrating the route", report),
            generator=generator,
        )

    def _describe(self, clips: Sequence[streams.Clip], stage: str, report: Report) -> torch.Tensor:
        out = [self.space.describe([])]
        for part in chunks(len(clips), 2 * _PREDICT_CHUNK):
            out.append(self.space.describe(read_all([clips[i].path for i in part])))
            report(Step(stage, part.stop, len(clips)))
        return torch.cat(out)

    # Measuring

    def evaluate(
        self, names: Sequence[str] = (), *, auto: bool = True, report: Report = silent
    ) -> tuple[list[Measured], dict[str, str]]:
        """Measure tasks again (all by default), by name and by router, and record it.

        Returns what was measured, and the tasks that could not be with the reason.

        Raises:
            TaskNotFoundError: a name that is not there.
        """
        records = [self.registry.task(name) for name in names] or self.registry.tasks()
        router = self._router() if auto else None
        measured, skipped = self._measure([(record.name, record.version.source) for record in records], router, report)
        if measured:
            self.registry.record([accuracy for one in measured for accuracy in _accuracies(one)])
        return measured, skipped

    def _measure_all(
        self, task: streams.Task, candidate: StoredTask, report: Report
    ) -> tuple[list[Measured], dict[str, str]]:
        """Every task with the new one beside it, before it is committed."""
        others = [record for record in self.registry.tasks() if record.name != task.name]
        self._loaded[task.name] = candidate
        try:
            router = self._router({task.name: candidate})
            sources = [(record.name, record.version.source) for record in others]
            return self._measure([*sources, (task.name, {})], router, report, task)
        finally:
            del self._loaded[task.name]

    def _measure(
        self,
        sources: Sequence[tuple[str, Mapping[str, object]]],
        router: Router | None,
        report: Report,
        at_hand: streams.Task | None = None,
    ) -> tuple[list[Measured], dict[str, str]]:
        measured, skipped = [], {}
        for name, source in sources:
            try:
                task = at_hand if at_hand and at_hand.name == name else streams.reload(_source(source))
                space = self.space if router else None
                measured.append(measure(name, task.test, self.model, router, space, report))
            except (StreamError, AudioError) as error:
                if at_hand and at_hand.name == name:
                    raise
                # An earlier task whose clips have moved is no reason to lose the new one.
                skipped[name] = str(error)
        return measured, skipped

    # Answering

    def model(self, name: str) -> TaskModel:
        """One task, ready to answer. Raises TaskNotFoundError, CorruptRegistryError."""
        return self._stored(name).model

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
    ) -> Iterator[Prediction | Failure]:
        """Answer clips in order: a Prediction each (or one a window), or a Failure for one that cannot be read.

        Args:
            task: a name, or "auto" to let the router choose.
            top_k: how many labels; None for all.

        Raises:
            TaskNotFoundError: no such task, or no task at all.
        """
        if not self.registry.tasks():
            raise TaskNotFoundError("the registry holds no task yet; teach it one with `cl-ast add-task`")
        choice: Router | Route
        if task == "auto":
            choice = self._router()
        else:
            self.model(task)  # a wrong name fails before any clip is read
            choice = Route(self.registry.task(task).name, 1.0, True, ())
        cut = itertools.chain.from_iterable(pieces(clip, window) for clip in clips)
        while group := list(itertools.islice(cut, _PREDICT_CHUNK)):
            yield from self._answer(group, choice, top_k)

    def _answer(
        self, group: Sequence[Piece | Failure], choice: Router | Route, top_k: int | None
    ) -> Iterator[Prediction | Failure]:
        """Answer a group in order, under the one route that was asked for or those that a router chooses."""
        heard = [piece for piece in group if isinstance(piece, Piece)]
        waveforms = [piece.waveform for piece in heard]
        if isinstance(choice, Router):
            routes = choice.choose(self.space.describe(waveforms)) if heard else []
        else:
            routes = [choice] * len(heard)
        # Each task is looked up once a group: a look-up asks the database.
        models = {name: self.model(name) for name in {route.task for route in routes}}
        answers = iter(zip(heard, routes, answer(waveforms, routes, models.__getitem__), strict=True))
        for item in group:
            if isinstance(item, Failure):
                yield item
                continue
            piece, route, logits = next(answers)
            labels = label_scores(logits[None], models[route.task].settings.labels, top_k)[0]
            yield Prediction(
                path=piece.path,
                task=route.task,
                task_score=route.score,
                known=route.known,
                labels=tuple(labels),
                tasks=route.nearest if isinstance(choice, Router) else None,
                start=piece.start,
                end=piece.end,
            )

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
        record = self.registry.task(name)
        rows = {row["name"]: row for row in self.stats()["tasks"]}
        data = self.registry.read_adapter(record.version)
        return sharing.write(Path(folder), data, auto=rows[record.name]["auto_accuracy"])

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
        incoming = sharing.read(Path(folder))
        if self._asked is None and self.registry.backbone is None:
            self._asked = sharing.known_trunk(incoming)
        task, new = sharing.accept(incoming, self.backbone, name)
        kept = self._name_for(task.model.settings.name, replace)
        self._keep_trunk()
        data = task.model.to_bytes(self.backbone, {}, task.router)
        return self.registry.commit(kept, data, new, replace=replace)

    def push(self, name: str, repository: str, *, public: bool = False, endpoint: str | None = None) -> str:
        """Export a task to a repository on the Hugging Face hub, private unless `public`; returns its address.

        Raises:
            TaskNotFoundError: no such task.
            RegistryError: the hub cannot be reached, or refuses.
        """
        with tempfile.TemporaryDirectory() as place:
            folder = self.export(name, Path(place) / "task")
            return sharing.push(folder, repository, public=public, endpoint=endpoint)

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
        folder = sharing.pull(repository, revision=revision, endpoint=endpoint)
        return self.import_(folder, name=name, replace=replace)

    # What is loaded

    def _stored(self, name: str) -> StoredTask:
        if name in self._loaded:  # a task that is being measured before it is committed
            return self._loaded[name]
        current = self.registry.task(name).version
        found = self._loaded.get(current.adapter_sha256)
        if found is None:
            try:
                found = from_bytes(self.registry.read_adapter(current), self.backbone, self.methods)
            except ClAstError as error:
                if name in str(error):
                    raise
                raise type(error)(f"{name}: {error}") from error
            self._loaded[current.adapter_sha256] = found
        return found

    def _router(self, candidates: Mapping[str, StoredTask] | None = None) -> Router:
        candidates = candidates or {}
        names = [record.name for record in self.registry.tasks() if record.name not in candidates]
        tasks = {name: self._stored(name) for name in names} | dict(candidates)
        # A LoRA that peft made comes without routing: it answers by its name only.
        routed = {name: TaskRouting.from_tensors(one.router) for name, one in tasks.items() if one.router}
        if not routed:
            raise TaskNotFoundError("no task here can be found by the router; name one with --task")
        return Router(routed)


def _from_everywhere(backbone: str | None) -> str | None:
    """A trunk's name, a local folder as its whole path: the registry keeps it."""
    if backbone is None or backbone == checkpoints.MINI or backbone in checkpoints.SHORT_NAMES:
        return backbone
    return str(Path(backbone).resolve()) if Path(backbone).is_dir() else backbone


def _source(stored: Mapping[str, object]) -> streams.Source:
    if "imported" in stored:
        raise StreamError("it was imported, and the clips that it was learned from did not come along")
    return streams.Source.from_json(stored)


def _accuracies(measured: Measured) -> list[Accuracy]:
    out = [Accuracy(measured.task, "oracle", measured.oracle, measured.clips)]
    if measured.auto is not None:
        out.append(Accuracy(measured.task, "auto", measured.auto, measured.clips, measured.routed or {}))
    return out
