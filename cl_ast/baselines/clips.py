"""The clips of a stream, read once for all learners and orders."""

from collections.abc import Callable

import torch
from torch import Tensor

from cl_ast.adapters.spec import MethodSpec, parse
from cl_ast.backbone.backbone import Backbone
from cl_ast.baselines.examples import Examples, Source, Vectors
from cl_ast.baselines.scenarios import Step, Stream
from cl_ast.progress import Progress, silent
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training.cached_states import CachedStates, SplitForward
from cl_ast.training.clips import ClipSet
from cl_ast.training.options import Hyperparameters

SPLITS = ("train", "validation", "test")


class StreamClips:
    """Features of all clips of a stream, and what the plain backbone makes of them."""

    def __init__(
        self, stream: Stream, backbone: Backbone, options: Hyperparameters, pooling: str, progress: Progress = silent
    ) -> None:
        """
        Args:
            options: of every training; the precision and the crop are used here.
            pooling: one of `POOLINGS`.
        """
        self.stream = stream
        self.backbone = backbone
        self.options = options
        self.pooling = pooling
        self._progress = progress
        self._sets: dict[tuple[int, str], tuple[ClipSet, Tensor]] = {}  # by block and split, with the clips' sizes
        self._vectors: dict[int, Tensor] = {}  # by the id of the set

    def fresh(self, method: MethodSpec, seed: int) -> TaskModel:
        """Return an untrained adapter and head for all classes of the stream."""
        labels = tuple(map(str, range(self.stream.class_count)))
        front_end = self.backbone.front_end(self.stream.blocks[0].clip_seconds)
        settings = TaskSettings("stream", method, labels, front_end, self.pooling)
        return TaskModel.fresh(settings, self.backbone, torch.Generator().manual_seed(seed))

    def vectors(self, clips: ClipSet) -> Tensor:
        """Return what the plain backbone makes of the clips of a set: pooled features (n, d)."""
        if id(clips) not in self._vectors:
            forward = SplitForward(self.fresh(parse("linear"), 0), self.options.precision)
            found, _ = CachedStates(clips, forward).gather(
                forward.vectors, stage="running the plain backbone", progress=self._progress
            )
            self._vectors[id(clips)] = found
        return self._vectors[id(clips)]

    def set_of(self, block: int, split: str) -> tuple[ClipSet, Tensor]:
        """Return the clips of a block and a split, with the stream's classes as targets, and their sizes."""
        if (block, split) not in self._sets:
            task, numbers = self.stream.blocks[block], self.stream.classes[block]
            clips = getattr(task, split)
            made = ClipSet(
                [clip.place for clip in clips],
                [numbers[clip.label] for clip in clips],
                self.backbone.front_end(task.clip_seconds),
                device=self.backbone.device,
                crop=self.options.one_stretch,
            )
            made.load(f"reading {split} clips of {task.name}", self._progress)
            self._sets[block, split] = made, torch.tensor([clip.path.stat().st_size for clip in clips])
        return self._sets[block, split]


class View:
    """The clips of a stream as one network takes them."""

    def __init__(self, clips: StreamClips, source_of: Callable[[ClipSet], Source]) -> None:
        """
        Args:
            source_of: makes the inputs of a set of clips; called now, so that no training's time has a part of it.
        """
        self._clips = clips
        self._sources: dict[tuple[int, str], Source] = {
            (block, split): source_of(clips.set_of(block, split)[0])
            for block in range(len(clips.stream.blocks))
            for split in SPLITS
        }

    def __call__(self, step: Step, split: str) -> Examples:
        """Return the clips of a step and a split of `SPLITS`."""
        clips, sizes = self._clips.set_of(step.block, split)
        rows = torch.isin(clips.targets, torch.tensor(step.classes)).nonzero()[:, 0]
        source = self._sources[step.block, split]
        return Examples.of(source, rows, clips.targets[rows], step.number, sizes[rows])


def plain_view(clips: StreamClips) -> View:
    """Return the clips as what the plain backbone makes of them."""
    return View(clips, lambda some: Vectors(clips.vectors(some)))
