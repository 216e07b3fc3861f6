"""Says beforehand what adding a task would take: its splits, its size, and its time from a few timed steps.

Everything is computed as for a training, with some of the clips and an untrained task; nothing is written.
"""

import gc
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

import streams
from cl_ast.continual.learn_routing import LearnedRouting
from cl_ast.continual.planning import Plan, Request, fresh_model, planned
from cl_ast.continual.routing_clips import MOST, MOST_VALIDATION, RoutingClips, clips_of
from cl_ast.continual.training_record import clip_counts, routing_record, training_record
from cl_ast.environment import package_versions
from cl_ast.inference.session import Session
from cl_ast.progress import Progress, Step, silent
from cl_ast.router import TaskRouting, learn
from cl_ast.router.copies import COPIES
from cl_ast.router.space import dimensions_of
from cl_ast.tasks.task_file import to_bytes
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.augmenting import augmentation
from cl_ast.training.cached_states import CachedStates, SplitForward
from cl_ast.training.checkpoint import EpochScores
from cl_ast.training.clips import ClipSet, labelled
from cl_ast.training.feature_files import FeatureFiles
from cl_ast.training.seeding import seeded
from cl_ast.training.step import Steps, optimiser_of
from cl_ast.training.trainer import Trained, outputs, trainable
from streams.recorded_split import SPLITS, members_of

_TIMED = 3  # steps, and batches of clips that are read
_WARM_UP_ON_GPU = 5  # steps before them, until one is recorded and was replayed (training/step.py); elsewhere one
_MOST_BYTES = 2**33  # of features that are kept on the disk meanwhile
_TIMING = "timing a few steps"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What adding a task would take.

    Attributes:
        task: its name, as it would be committed.
        splits: how many clips each class has in each split, by the names of split and class.
        clips: how many clips each split has.
        protocol: how the splits are made.
        seconds_taken: how much of a clip the task takes, in seconds; longer clips are cut.
        trainable_parameters: as `TaskModel.trainable_parameters` counts them.
        bytes: the size of the task's file, routing included; the real one differs by some percent.
        epochs, steps: of the training; steps are those of all epochs.
        device: where the steps were timed.
        seconds_per_step: the mean of the timed steps.
        training_seconds: reading, training and validation, for all epochs. Learning the routing and measuring every
            task come on top.
        memory_bytes: the most memory of this process so far and, without a GPU, what keeping all clips takes if there
            is room; None where the system does not say.
        device_memory_bytes: the most memory of the GPU, with all clips; None without one.
    """

    task: str
    splits: Mapping[str, Mapping[str, int]]
    clips: Mapping[str, int]
    protocol: str
    notes: tuple[str, ...]
    seconds_taken: float
    backbone: str
    method: str
    trainable_parameters: int
    bytes: int
    epochs: int
    batch_size: int
    steps: int
    device: str
    seconds_per_step: float
    training_seconds: float
    memory_bytes: int | None
    device_memory_bytes: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the object that `cl-ast add-task --dry-run --format json` prints."""
        return asdict(self)


def forecast(session: Session, task: streams.Task, request: Request, progress: Progress = silent) -> Forecast:
    """Return what adding a task would take. Nothing is written.

    Raises:
        TaskExistsError, RegistryError, MethodError, TrainingError, StreamError, AudioError: as adding it would raise.
    """
    plan = planned(session, task, request)
    device = session.backbone.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    model = fresh_model(session, plan)
    times = _timed(session, plan, model, progress)
    on_gpu = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    taken = _memory()
    caches = _cache_bytes(plan, times)
    options = plan.options
    shares = {name: Counter(one for clip in getattr(plan.task, name) for one in clip.labels) for name in SPLITS}
    return Forecast(
        task=plan.task.name,
        splits={name: {label: counts[label] for label in plan.task.labels} for name, counts in shares.items()},
        clips={name: len(getattr(plan.task, name)) for name in SPLITS},
        protocol=plan.task.protocol,
        notes=plan.task.notes,
        seconds_taken=plan.settings.front_end.seconds,
        backbone=session.backbone.name,
        method=plan.settings.method.text,
        trainable_parameters=model.trainable_parameters(),
        bytes=_file_bytes(session, plan, model, request),
        epochs=options.epochs,
        batch_size=options.batch_size,
        steps=options.epochs * -(-times.trained_on(plan) // options.batch_size),
        device=str(device),
        seconds_per_step=times.step,
        training_seconds=times.training(plan),
        memory_bytes=None if taken is None else taken + (0 if on_gpu else caches),
        device_memory_bytes=None if on_gpu is None else on_gpu + caches,
    )


@dataclass(frozen=True, slots=True)
class _Times:
    """Seconds that were measured, per clip or per step of `clips` clips; and the bytes of kept states per clip.

    Attributes:
        windows: how many clips of the set a training clip gives: with the crop "all" those of its windows that sound.
    """

    windows: float
    read: float
    below: float
    step: float
    clips: int
    outputs: float
    states: int

    def trained_on(self, plan: Plan) -> int:
        """Return how many clips the training set has."""
        return round(len(plan.task.train) * self.windows)

    def training(self, plan: Plan) -> float:
        """Return the seconds of the whole training: reading, frozen layers, linear probe, steps and validation."""
        options, training, validation = plan.options, self.trained_on(plan), len(plan.task.validation)
        probe = options.head == "probe"
        once = (self.read + self.below) * (training + validation) + probe * training * self.outputs
        each = training * self.step / self.clips + validation * self.outputs
        return once + options.epochs * each + probe * validation * self.outputs


def _timed(session: Session, plan: Plan, model: TaskModel, progress: Progress) -> _Times:
    """Train an untrained task for a few steps, and say how long each part takes. Steps are not compiled for it."""
    options, device = plan.options, model.backbone.device
    on_gpu = device.type == "cuda"

    def timed(work: Callable[[], object]) -> float:
        started = time.perf_counter()
        work()
        if on_gpu:
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    with (
        _some(plan, session, device) as (clips, windows),
        seeded(options.seed, device),
        trainable(model.trainable()),
    ):
        read = timed(lambda: clips.load("reading some clips", progress)) / len(clips)
        forward = SplitForward(model, options.precision)
        states = CachedStates(clips, forward, augmentation(model, options))
        below = timed(lambda: states.load("running the frozen layers over some clips", progress)) / len(clips)
        steps, batch = Steps(states, optimiser_of(model, options)), range(min(options.batch_size, len(clips)))
        untimed = _WARM_UP_ON_GPU if on_gpu else 1
        seconds = []
        with model.adapter.training_mode():
            for number in range(untimed + _TIMED):
                seconds.append(timed(lambda: steps.take(batch)))
                progress(Step(_TIMING, number + 1, untimed + _TIMED))
        checked = timed(lambda: outputs(CachedStates(clips, forward))) / len(clips)
        kept = clips.states.bytes // len(clips)
    return _Times(windows, read, below, sum(seconds[untimed:]) / _TIMED, len(batch), checked, kept)


@contextmanager
def _some(plan: Plan, session: Session, device: torch.device) -> Iterator[tuple[ClipSet, float]]:
    """Yield a few batches of training clips from all over, and how many clips of the set each of them gives.

    Their features are not put into the user's cache folder.
    """
    train = plan.task.train
    count = min(len(train), _TIMED * plan.options.batch_size)
    chosen = [train[number * len(train) // count] for number in range(count)]
    with tempfile.TemporaryDirectory(prefix="cl-ast-") as place:
        files, settings = FeatureFiles(Path(place), _MOST_BYTES), plan.settings
        found = labelled(
            chosen,
            settings.labels,
            settings.front_end,
            device,
            session.clips.read,
            plan.options.crop,
            files,
            settings.labelling,
        )
        yield found, len(found) / count


def _cache_bytes(plan: Plan, times: _Times) -> int:
    """Return how many bytes the features and states of all clips take, where they fit into memory."""
    clips, front_end = times.trained_on(plan) + len(plan.task.validation), plan.settings.front_end
    return clips * (4 * prod(front_end.shape) + times.states)


def _file_bytes(session: Session, plan: Plan, model: TaskModel, request: Request) -> int:
    """Return the size of the task's file, from an untrained task and routing that was learned from random numbers."""
    store = request.store
    model.finish()
    if store != "fp32":
        model.round("int8" if store == "int8" else "fp16")
    clips = clips_of(plan.task)
    routing = _any_routing(session, clips)
    curve = tuple(EpochScores(epoch, 0.1, 0.1, 0.1, 0.1) for epoch in range(plan.options.epochs + 1))
    trained = Trained(1, 0.1, 0.1, 0.1, curve)
    used = routing_record(LearnedRouting(routing), clips)
    facts = {
        "training": training_record(
            model,
            plan.options,
            trained,
            used,
            store,
            clip_counts(plan.task),
            calibrated=request.calibrate,
        ),
        "source": plan.task.source.to_json(),
        "protocol": plan.task.protocol,
        "packages": package_versions(),
        "data_fingerprint": plan.fingerprint,
    }
    return len(to_bytes(model, session.backbone, facts, routing.tensors(), members_of(plan.task)))


def _any_routing(session: Session, clips: RoutingClips) -> TaskRouting:
    """Return routing of the size that the task's would have; what it says of clips means nothing."""
    generator = torch.Generator().manual_seed(0)
    dimensions = dimensions_of(session.backbone.shape)

    def described(some: Sequence[streams.Clip], most: int) -> torch.Tensor:
        return torch.randn(COPIES * max(2, min(len(some), most)), dimensions, generator=generator)

    training, index = described(clips.training, MOST), {label: n for n, label in enumerate(clips.labels)}
    targets = [index[clip.labels[0]] for clip in clips.training[: len(training) // COPIES]]
    targets += [0] * (len(training) // COPIES - len(targets))
    return learn(
        training,
        targets,
        described(clips.validation, MOST_VALIDATION),
        generator=generator,
        kind=session.routing.kind,
        copies=COPIES,
    )


def _memory() -> int | None:
    """Return the most bytes of memory that this process has had; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    gc.collect()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
