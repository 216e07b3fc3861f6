"""Scores windows: by one task, by the task that the router chooses for each, or by all tasks."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.audio.reading import SAMPLE_RATE
from cl_ast.audio.recordings import MUCH
from cl_ast.audio.windows import LONGEST, SHORTEST, Segment, Window
from cl_ast.errors import AudioError
from cl_ast.events.answering_tasks import AnsweringTasks
from cl_ast.events.event import EventSettings, Threshold
from cl_ast.events.grid import ScoredWindow, TaskScores
from cl_ast.inference.answering import batch_size, features_of, not_finite, shared_log_mel
from cl_ast.inference.joining import cut_of, joined
from cl_ast.inference.session import Session
from cl_ast.router import Route, Router, decide, part_to_describe
from cl_ast.tasks.task_model import TaskModel
from cl_ast.tasks.thresholds import Windows, thresholds_of, windows_of

_APPROXIMATE = "--route sticky is approximate: a task that fits a window is kept for those after it"


@dataclass(frozen=True, slots=True)
class _Scored:
    """What one task says of one window: `logits` (classes,), and `steps` (n, classes), whose mean they are.

    Both have no numbers (0,) where the task was left out.
    """

    logits: Tensor
    steps: Tensor


_NOTHING = _Scored(torch.zeros(0), torch.zeros(0))


class WindowScorer:
    """Scores the windows of any number of recordings. Tasks answer in the versions that they had when it was made.

    Attributes:
        settings: with the window and the hop that are used.
        size, hop: the window and the hop, in samples.
        step: of the grid, in samples: the backbone's own.
        left_out: tasks that do not answer, since their files cannot be used; only with `skip_damaged`.
    """

    def __init__(self, session: Session, settings: EventSettings, *, skip_damaged: bool = False) -> None:
        """
        Args:
            skip_damaged: with "auto" and "all", leave out a task whose file is damaged or missing, or that answers
                with values that are not numbers, with a warning.

        Raises:
            TaskNotFoundError: there is no such task, or none at all.
            AudioError: the window or the hop cannot be used.
            MethodError: a timeline is wanted of a task that has none.
            CorruptRegistryError: a task's file is damaged or missing.
        """
        self._session = session
        self._tasks = AnsweringTasks(session, settings, skip_damaged=skip_damaged)
        self.left_out = self._tasks.left_out
        self.step = session.backbone.time_step
        self.settings = _with_window(self._with_thresholds(settings), self._tasks.shortest(), self.step)
        assert self.settings.window is not None and self.settings.hop is not None
        self.size = round(self.settings.window * SAMPLE_RATE)
        self.hop = round(self.settings.hop * SAMPLE_RATE)
        if settings.timeline and self.router is None:
            for name in self._tasks.names:
                if model := self._tasks.usable(name):
                    model.check_timeline()

    def __call__(self, windows: Sequence[Segment]) -> list[ScoredWindow]:
        """Return the scores of windows of one recording.

        Raises:
            NotFiniteError: a task answers with values that are not numbers.
            CorruptRegistryError: a task's file is damaged; with `skip_damaged`, that of the only task.
            MethodError: a timeline is wanted of a task that the router chose and that has none.
        """
        if self.router is None:
            return self._by_names(windows)
        return [window for _, window in self.routed(windows)]

    @property
    def router(self) -> Router | None:
        """The router that chooses the task of each window; None where tasks are named."""
        return self._tasks.router

    def routed(self, windows: Sequence[Segment]) -> list[tuple[Route, ScoredWindow]]:
        """Return the routes of windows, and their scores by the tasks that they are sent to; raises as a call does."""
        router = self.router
        assert router is not None
        described = self._session.routing.space.describe([part_to_describe(one.waveform) for one in windows])
        decided = decide(router, described, lambda pairs: self._scored(windows, pairs), for_unknown=_NOTHING)
        if self.router is not router:  # A task was left out meanwhile, and its windows go to others.
            return self.routed(windows)
        found = []
        for one, (route, scored) in zip(windows, decided, strict=True):
            answers = [(route.task, scored)] if route.known else []
            found.append((route, self._window(one, answers, None if route.known else route.task)))
        return found

    def by_task(self, windows: Sequence[Segment], task: str) -> list[tuple[Tensor, ScoredWindow]]:
        """Return the logits (classes,) of windows by one task, and their scores; raises as a call does.

        There are no logits (0,) and no scores where the task was left out.
        """
        found = self._scored(windows, [(row, task) for row in range(len(windows))])
        each = zip(windows, found, strict=True)
        return [(scored.logits, self._window(one, [(task, scored)], None)) for one, scored in each]

    def describe(self) -> dict[str, Any]:
        """Return all that the events depend on besides the recording, as plain values."""
        versions = {name: version.adapter_sha256 for name, version in sorted(self._tasks.versions.items())}
        return self.settings.to_json() | {"backbone": self._session.backbone.fingerprint, "versions": versions}

    def cautions(self) -> list[str]:
        """Return what is to be said of the scores: that they are approximate, or that thresholds are for others."""
        lines = [] if self.settings.route == "every" else [_APPROXIMATE]
        wanted = {task for task, _ in self.settings.thresholds}
        tuned = {name: windows_of(version) for name, version in self._tasks.versions.items() if name in wanted}
        return lines + [
            f"the thresholds of {name} were tuned for {one.in_words()}, and these are {self.windows.in_words()}, whose "
            "scores differ; give the same, or tune with these"
            for name, one in sorted(tuned.items())
            if one is not None and one != self.windows
        ]

    @property
    def windows(self) -> Windows:
        """What it scores."""
        return Windows(self.size / SAMPLE_RATE, self.hop / SAMPLE_RATE, self.settings.timeline)

    def prepare(self, windows: Sequence[Segment]) -> None:
        """Compute what windows share, in the thread that reads them, so that the backbone need not wait for it."""
        backbone = self._session.backbone
        block = windows[0].block
        if block is not None and backbone.device.type == "cpu" and backbone.family.front_end_class is LogMelFrontEnd:
            shared_log_mel(block, backbone.device)

    def _by_names(self, windows: Sequence[Segment]) -> list[ScoredWindow]:
        names = self._tasks.names
        pairs = [(row, name) for row in range(len(windows)) for name in names]
        found = self._scored(windows, pairs)
        each = (found[row * len(names) : (row + 1) * len(names)] for row in range(len(windows)))
        return [
            self._window(one, list(zip(names, scored, strict=True)), None)
            for one, scored in zip(windows, each, strict=True)
        ]

    def _window(self, segment: Segment, answers: Sequence[tuple[str, _Scored]], nearest: str | None) -> ScoredWindow:
        """Return a window with the answers of tasks, without those that were left out."""
        assert segment.start is not None
        first = round(segment.start * SAMPLE_RATE)
        tasks = []
        for name, scored in answers:
            if not len(scored.logits):
                continue
            settings = self._tasks.model(name).settings
            scores = settings.probabilities(scored.steps).numpy().astype(np.float64)
            tasks.append(TaskScores(name, settings.labels, scores, self.step if len(scores) > 1 else self.size))
        return ScoredWindow(first, first + len(segment.waveform), tasks, nearest)

    def _scored(self, windows: Sequence[Segment], pairs: Sequence[tuple[int, str]]) -> list[_Scored]:
        """Return what each task says of each window (a row and a task's name), in order.

        Tasks that take the same features share them, and the layers below their adapters.
        """
        groups: dict[Any, dict[str, list[int]]] = defaultdict(dict)
        rows: dict[str, list[int]] = defaultdict(list)
        for row, name in pairs:
            rows[name].append(row)
        for name, own in rows.items():
            if model := self._tasks.usable(name):
                key = id(model.backbone), model.settings.front_end, model.settings.positions
                groups[key][name] = own
        found: dict[tuple[int, str], _Scored] = {}
        for by_name in groups.values():
            self._score_group(windows, by_name, found)
        return [_NOTHING if pair[1] in self.left_out else found[pair] for pair in pairs]

    def _score_group(
        self, windows: Sequence[Segment], by_name: dict[str, list[int]], found: dict[tuple[int, str], _Scored]
    ) -> None:
        """Score windows by tasks that take the same features."""
        models = {name: self._tasks.model(name) for name in by_name}
        front_end = next(iter(models.values())).settings.front_end
        device = self._session.backbone.device
        rows = sorted({row for several in by_name.values() for row in several})
        pieces, owners = _pieces(windows, rows, front_end.seconds)
        logits: dict[tuple[int, str], list[_Scored]] = defaultdict(list)
        size = batch_size(device)
        for first in range(0, len(pieces), size):
            own = owners[first : first + size]
            features = features_of(front_end, pieces[first : first + size], device)
            for name, place, one in self._one_pass(features, own, by_name, models):
                logits[own[place], name].append(one)
        for key, several in logits.items():
            found[key] = several[0] if len(several) == 1 else _joined(several)

    def _one_pass(
        self,
        features: Tensor,
        owners: Sequence[int],
        by_name: dict[str, list[int]],
        models: dict[str, TaskModel],
    ) -> list[tuple[str, int, _Scored]]:
        """Run the backbone once below the lowest adapter, and go on from there for each task.

        Args:
            owners: the row of the window that each piece belongs to.
        """
        order = sorted(by_name, key=lambda name: models[name].frozen_layers)
        backbone = models[order[0]].backbone
        out: list[tuple[str, int, _Scored]] = []
        with torch.inference_mode(), backbone.precision():
            tokens, done = models[order[0]].embed(features), 0
            for name in order:
                model = models[name]
                tokens, done = backbone.run(tokens, first=done, last=model.frozen_layers), model.frozen_layers
                wanted = set(by_name[name])
                places = [place for place, owner in enumerate(owners) if owner in wanted]
                if not places:
                    continue
                own = tokens if len(places) == len(owners) else tokens[torch.tensor(places, device=tokens.device)]
                with model.acting():
                    own = backbone.run(own, first=done)
                each = model.timeline(own) if self.settings.timeline else model.classify(own)[:, None]
                on_cpu = each.float().cpu()
                if not torch.isfinite(on_cpu).all():
                    self._tasks.leave_out(name, not_finite(name))
                out += [(name, place, _Scored(one.mean(dim=0), one)) for place, one in zip(places, on_cpu, strict=True)]
        return out

    def _with_thresholds(self, settings: EventSettings) -> EventSettings:
        """Return the settings with the thresholds that `cl-ast tune` stored with the tasks' versions."""
        if not settings.tuned or settings.method != "hysteresis":
            return settings
        stored = {
            (name, label): Threshold.of(on)
            for name, version in self._tasks.versions.items()
            for label, on in thresholds_of(version).items()
        }
        return replace(settings, thresholds={**stored, **settings.thresholds})


def _with_window(settings: EventSettings, takes: float, step: int) -> EventSettings:
    """Return the settings with a window and a hop, in whole steps where they are not given.

    Args:
        takes: how many seconds the tasks take, the shortest of them.
    """
    window = min(LONGEST, max(SHORTEST, takes)) if settings.window is None else settings.window
    hop = settings.hop
    if hop is None:
        samples = window * SAMPLE_RATE * (1 if settings.timeline else 0.5)
        hop = max(1, int(samples / step)) * step / SAMPLE_RATE
    checked = Window(window, min(hop, window))
    if hop > window:
        raise AudioError(f"a hop of {hop:g} s is longer than the window of {window:g} s; choose a shorter one")
    if settings.timeline and window > takes + MUCH:
        raise AudioError(
            f"a timeline is of windows that a task takes whole, and one takes {takes:g} s, not {window:g} s; give "
            f"--window {takes:g} or less"
        )
    return replace(settings, window=checked.seconds, hop=checked.hop)


def _pieces(windows: Sequence[Segment], rows: Sequence[int], seconds: float) -> tuple[list[Segment], list[int]]:
    """Return what is classified of windows, and the row that each piece is of.

    It is the window itself, or of a longer one than the task takes the stretches of it that sound, as in `predict`.
    """
    pieces: list[Segment] = []
    owners: list[int] = []
    for row in rows:
        cut = cut_of(windows[row], seconds)
        own = [windows[row]] if cut is None else [Segment("", one) for one in cut.waveforms(windows[row])]
        pieces += own
        owners += [row] * len(own)
    return pieces, owners


def _joined(several: Sequence[_Scored]) -> _Scored:
    logits = joined([one.logits for one in several])
    return _Scored(logits, logits[None])
