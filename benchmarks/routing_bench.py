"""The described clips of a routing benchmark, and what each router makes of some of the tasks."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.routing_baselines import BASELINES, Scores
from benchmarks.routing_features import NAMES, Features, Split
from benchmarks.routing_metrics import Task
from cl_ast.router import KINDS, TaskRouting, learn
from cl_ast.router.copies import COPIES
from cl_ast.router.kinds import State

_KEEP = 0.8  # of the training clips, drawn by the seed


def rows_of(split: Split, classes: Sequence[int]) -> Tensor:
    return torch.isin(split.labels, torch.tensor(list(classes))).nonzero().flatten()


class Bench:
    """The described clips, and what each router makes of some of the tasks."""

    def __init__(self, features: Features, asked: str, noise: Mapping[str, State | None]) -> None:
        self.features, self.asked, self.noise = features, asked, noise
        self._learned: dict[tuple[str, tuple[int, ...], str, int], TaskRouting] = {}
        self._scores: dict[tuple[tuple[tuple[str, tuple[int, ...]], ...], str, int], Scores] = {}

    def training(self, task: Task, seed: int) -> tuple[Tensor, list[int]]:
        """(copies · n, d) and (n,) classes: four fifths of the clips."""
        split = self.features[task[0]]["train"]
        rows = rows_of(split, task[1])
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
        rows = rows[order[: max(4, round(_KEEP * len(rows)))]]
        return torch.cat([view[rows] for view in split.views.values()]), split.labels[rows].tolist()

    def clips(self, task: Task, view: str) -> Tensor:
        split = self.features[task[0]][self.asked]
        described, rows = split.views[view], rows_of(split, task[1])
        return described[rows[rows < len(described)]]  # some views are of the first clips only

    def shipped(self, tasks: Sequence[Task], kind: str, seed: int) -> list[TaskRouting]:
        return [self._routing(task, kind, seed) for task in tasks]

    def _routing(self, task: Task, kind: str, seed: int) -> TaskRouting:
        key = task[0], tuple(task[1]), kind, seed
        if key not in self._learned:
            training, targets = self.training(task, seed)
            held_out = self.features[task[0]]["validation"]
            validation = held_out.views["plain"][rows_of(held_out, task[1])]
            generator = torch.Generator().manual_seed(seed)
            self._learned[key] = learn(
                training, targets, validation, generator=generator, kind=kind, copies=COPIES, noise=self.noise[kind]
            )
        return self._learned[key]

    def scores(self, tasks: Sequence[Task], method: str, seed: int) -> Scores:
        key = tuple((name, tuple(classes)) for name, classes in tasks), method, seed
        if key not in self._scores:
            if method in KINDS:
                made = KINDS[method].chooser([one.state for one in self.shipped(tasks, method, seed)])
            else:
                made = BASELINES[method]([self.training(task, seed)[0] for task in tasks])
            self._scores[key] = made
        return self._scores[key]

    def choices(self, tasks: Sequence[Task], scores: Scores, view: str) -> list[Tensor]:
        """Of each task's clips, the task that each is sent to."""
        return [scores(self.clips(task, view)).argmax(dim=1) for task in tasks]


def whole(features: Features) -> list[Task]:
    return [(name, range(int(features[name]["train"].labels.max()) + 1)) for name in NAMES]


def by_class(features: Features, groups: int, faster: bool, seed: int) -> list[Task]:
    """Every set split into `groups` tasks by class, dealt by the seed; `faster` doubles them."""
    out: list[Task] = []
    for name, classes in whole(features):
        order = np.random.default_rng(seed).permutation(len(classes))
        parts = [part.tolist() for part in np.array_split(order, min(groups, len(order)))]
        out += [(name + suffix, part) for suffix in (("", "-faster") if faster else ("",)) for part in parts]
    return [task for task in out if all(len(rows_of(features[task[0]][s], task[1])) for s in features[task[0]])]
