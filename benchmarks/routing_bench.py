"""The described clips of a routing benchmark, and the scores of each router for a set of tasks."""

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

_KEEP = 0.8  # share of the training clips that a seed learns from


def rows_of(split: Split, classes: Sequence[int]) -> Tensor:
    """Return the rows of a split whose clips are of these classes."""
    return torch.isin(split.labels, torch.tensor(list(classes))).nonzero().flatten()


class Bench:
    """Has the described clips, and learns and caches each router for each set of tasks.

    Attributes:
        split: which clips are scored, "validation" or "test".
        noise: by router, how it describes noise.
    """

    def __init__(self, features: Features, split: str, noise: Mapping[str, State | None]) -> None:
        self.features, self.split, self.noise = features, split, noise
        self._learned: dict[tuple[str, tuple[int, ...], str, int], TaskRouting] = {}
        self._scores: dict[tuple[tuple[tuple[str, tuple[int, ...]], ...], str, int], Scores] = {}

    def training(self, task: Task, seed: int) -> tuple[Tensor, list[int]]:
        """Return described clips (copies · n, d) and their classes (n,): four fifths of the training clips."""
        split = self.features[task[0]]["train"]
        rows = rows_of(split, task[1])
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
        rows = rows[order[: max(4, round(_KEEP * len(rows)))]]
        return torch.cat([view[rows] for view in split.views.values()]), split.labels[rows].tolist()

    def clips(self, task: Task, view: str) -> Tensor:
        """Return a task's described clips (n, d) that are scored, as recorded or altered."""
        split = self.features[task[0]][self.split]
        described, rows = split.views[view], rows_of(split, task[1])
        return described[rows[rows < len(described)]]  # some views have the first clips only

    def shipped(self, tasks: Sequence[Task], kind: str, seed: int) -> list[TaskRouting]:
        """Return the routing of these tasks, learned as cl_ast learns it."""
        return [self._routing(task, kind, seed) for task in tasks]

    def _routing(self, task: Task, kind: str, seed: int) -> TaskRouting:
        key = task[0], tuple(task[1]), kind, seed
        if key not in self._learned:
            training, targets = self.training(task, seed)
            held_out = self.features[task[0]]["validation"]
            rows = rows_of(held_out, task[1])
            validation = torch.cat([held_out.views[f"copy {number}"][rows] for number in range(COPIES)])
            generator = torch.Generator().manual_seed(seed)
            self._learned[key] = learn(
                training, targets, validation, generator=generator, kind=kind, copies=COPIES, noise=self.noise[kind]
            )
        return self._learned[key]

    def scores(self, tasks: Sequence[Task], method: str, seed: int) -> Scores:
        """Return how a router of cl_ast, or a baseline, scores clips for these tasks."""
        key = tuple((name, tuple(classes)) for name, classes in tasks), method, seed
        if key not in self._scores:
            if method in KINDS:
                made = KINDS[method].chooser([one.state for one in self.shipped(tasks, method, seed)])
            else:
                made = BASELINES[method]([self.training(task, seed)[0] for task in tasks])
            self._scores[key] = made
        return self._scores[key]

    def choices(self, tasks: Sequence[Task], scores: Scores, view: str) -> list[Tensor]:
        """Return the task that each clip is sent to, task by task."""
        return [scores(self.clips(task, view)).argmax(dim=1) for task in tasks]


def whole(features: Features) -> list[Task]:
    """Return the five tasks with all of their classes."""
    return [(name, range(int(features[name]["train"].labels.max()) + 1)) for name in NAMES]


def by_class(features: Features, groups: int, faster: bool, seed: int) -> list[Task]:
    """Split every set by class into `groups` tasks, as the seed says; `faster` doubles them."""
    out: list[Task] = []
    for name, classes in whole(features):
        order = np.random.default_rng(seed).permutation(len(classes))
        parts = [part.tolist() for part in np.array_split(order, min(groups, len(order)))]
        out += [(name + suffix, part) for suffix in (("", "-faster") if faster else ("",)) for part in parts]
    return [task for task in out if all(len(rows_of(features[task[0]][s], task[1])) for s in features[task[0]])]
