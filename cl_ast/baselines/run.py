"""Runs one way to learn a stream, in one order and with one seed, and measures it after each step."""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_ast.adapters.spec import MethodSpec
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.device import pick_device
from cl_ast.backbone.pretrained import load as load_backbone
from cl_ast.baselines.clips import StreamClips, plain_view
from cl_ast.baselines.learner import Cost, Learner
from cl_ast.baselines.network import probe_accuracy
from cl_ast.baselines.scenarios import Step, Stream
from cl_ast.baselines.table import Bench, parse
from cl_ast.errors import TrainingError
from cl_ast.evaluation import metrics
from cl_ast.inference.session import Session
from cl_ast.progress import Progress, silent
from cl_ast.training.options import Hyperparameters
from cl_ast.training.seeding import seeded
from registry import Registry

RUN, TRIAL = "run", "trial"


@dataclass(frozen=True, slots=True)
class Job:
    """One run.

    Attributes:
        kind: `RUN`, which is measured on test clips, or `TRIAL`, on validation clips, to choose an option.
        baseline: as `table.parse` takes it.
    """

    kind: str
    baseline: str
    order: int
    seed: int


@dataclass(frozen=True, slots=True)
class Setting:
    """What all runs of one comparison have in common.

    Attributes:
        method: how the backbone is adapted.
        options: of every training, without a learning rate.
        learning_rate: of all that train; None for each method's own.
        pooling: one of `POOLINGS`.
    """

    method: MethodSpec
    options: Hyperparameters
    learning_rate: float | None
    pooling: str

    @property
    def text(self) -> str:
        """Everything that changes a result, in one line."""
        o = self.options
        rate = "" if self.learning_rate is None else f" lr={self.learning_rate:g}"
        return (
            f"{self.method} pooling={self.pooling} epochs={o.epochs} batch={o.batch_size}{rate} head={o.head} "
            f"decay={o.weight_decay:g} crop={o.crop} precision={o.precision}"
        )


@dataclass(frozen=True, slots=True)
class Finished:
    """The result of one way to answer in one run.

    Attributes:
        answer: its name.
        cells: the accuracy on a step's clips (j) after a step (i), by (i, j) with j ≤ i.
        forward_transfer: as `metrics.forward_transfer` has it.
        seconds: the time of learning, without that of reading clips and measuring.
        error: why the run failed, or empty.
    """

    answer: str
    cells: Mapping[tuple[int, int], float]
    forward_transfer: float | None
    cost: Cost
    seconds: float
    error: str = ""


class Runner:
    """Runs jobs in one process, which reads the clips for the first one."""

    def __init__(
        self,
        stream: Stream,
        backbone: Backbone | str,
        setting: Setting,
        *,
        device: str = "auto",
        progress: Progress = silent,
    ) -> None:
        """
        Args:
            backbone: itself, or its name for another process, which loads it.
        """
        self._stream = stream
        self._backbone = backbone
        self._setting = setting
        self._device = device
        self._progress = progress
        self._clips: StreamClips | None = None
        self._session: Session | None = None
        self._closing = ExitStack()

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs, which opens a registry of its own."""
        return {**self.__dict__, "_clips": None, "_session": None, "_closing": None, "_progress": silent}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state, _closing=ExitStack())

    def close(self) -> None:
        """Remove the temporary registry."""
        self._closing.close()
        self._session = None

    def __call__(self, job: Job) -> list[Finished]:
        """Run a job; return a result for each of its ways to answer, or one with an error."""
        clips = self._prepared()
        setting = self._setting
        steps = clips.stream.steps(job.order)
        bench = Bench(clips, job.order, job.seed, setting.method, setting.learning_rate, self._registry)
        spec = parse(job.baseline)
        device = clips.backbone.device
        with seeded(job.seed, device):
            try:
                learner = spec.row.make(bench, spec.values)
                return _tried(learner, steps) if job.kind == TRIAL else self._measured(learner, steps)
            except TrainingError as error:
                return [Finished("", {}, None, Cost(0, 0, 0), 0.0, str(error))]

    def _measured(self, learner: Learner, steps: Sequence[Step]) -> list[Finished]:
        cells: list[dict[tuple[int, int], float]] = [{} for _ in learner.answers]
        probes: dict[int, float] = {}
        seconds = 0.0
        for i, step in enumerate(steps):
            if i and (probe := learner.probe(step)) is not None:
                probes[i] = probe
            started = time.perf_counter()
            learner.learn(step)
            seconds += time.perf_counter() - started
            for j in range(i + 1):
                for own, accuracy in zip(cells, learner.accuracies(steps[j], "test"), strict=True):
                    own[i, j] = accuracy
        plain = {i: self._plain_probe(steps[i]) for i in probes}
        # The features of all others are those of the plain backbone.
        transfer = metrics.forward_transfer(probes, plain) if probes else 0.0
        cost = learner.cost()
        return [
            Finished(answer, own, transfer, cost, seconds) for answer, own in zip(learner.answers, cells, strict=True)
        ]

    def _plain_probe(self, step: Step) -> float:
        view = plain_view(self._prepared())
        train, test = view(step, "train"), view(step, "test")
        vectors = [clips.gather(lambda found: found) for clips in (train, test)]
        return probe_accuracy(vectors[0], train.targets, vectors[1], test.targets)

    def _prepared(self) -> StreamClips:
        """Return the clips; the first call loads the backbone."""
        if isinstance(self._backbone, str):
            self._backbone = load_backbone(self._backbone, device=pick_device(self._device))
        if self._clips is None:
            setting = self._setting
            self._clips = StreamClips(self._stream, self._backbone, setting.options, setting.pooling, self._progress)
        return self._clips

    def _registry(self) -> Session:
        """Return a session of a registry in a temporary folder, the same one for all runs."""
        if self._session is None:
            folder = self._closing.enter_context(tempfile.TemporaryDirectory(prefix="cl-ast-baselines-"))
            registry = Registry.open(Path(folder) / "registry")
            self._closing.callback(registry.close)
            self._session = Session(registry, backbone=self._prepared().backbone)
            self._closing.callback(self._session.close)
            _ = self._session.routing.space  # Measured now, so that no run's time has a part of it.
        return self._session


def _tried(learner: Learner, steps: Sequence[Step]) -> list[Finished]:
    """Learn all steps, and measure the last accuracy on their validation clips."""
    started = time.perf_counter()
    for step in steps:
        learner.learn(step)
    seconds = time.perf_counter() - started
    last = len(steps) - 1
    found = [learner.accuracies(step, "validation")[0] for step in steps]
    cells = {(last, j): accuracy for j, accuracy in enumerate(found)}
    return [Finished(learner.answers[0], cells, None, learner.cost(), seconds)]


def cells_text(cells: Mapping[tuple[int, int], float]) -> str:
    """Return the cells as JSON, a row for each step, with null for those that are not known."""
    size = 1 + max((i for i, _ in cells), default=-1)
    return json.dumps([[cells.get((i, j)) for j in range(i + 1)] for i in range(size)])


def cells_in(text: str) -> dict[tuple[int, int], float]:
    """Return the cells that `cells_text` wrote."""
    return {(i, j): value for i, row in enumerate(json.loads(text)) for j, value in enumerate(row) if value is not None}
