"""What a task adds to the router, learned from its training clips and calibrated with its validation clips."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from os import cpu_count
from pathlib import Path

import torch
from torch import Tensor

import streams
from cl_ast.audio.reading import Waveform
from cl_ast.batching import ahead, chunks
from cl_ast.continual.negatives import NegativeClips
from cl_ast.continual.routing_clips import MOST, MOST_VALIDATION, RoutingClips
from cl_ast.inference.answering import joined_logits_of
from cl_ast.inference.session import Session
from cl_ast.progress import Progress, Step
from cl_ast.router import ALPHA, TaskRouting, learn, part_to_describe, unknown_negatives
from cl_ast.router.copies import COPIES, copies
from cl_ast.tasks.task_model import TaskModel

_LEARNING = "learning to recognise this task's clips"
_LIMIT = 'setting the limit for "unknown"'
_CHUNK, _GPU_CHUNK = 32, 256  # clips that are described at once


@dataclass(frozen=True, slots=True)
class UsedNegatives:
    """Which negatives were used.

    Attributes:
        folder: where they are.
        pieces: how many pieces they were cut into.
        unknown: how many of these come out unknown, each by what the others teach.
    """

    folder: Path
    pieces: int
    unknown: int


@dataclass(frozen=True, slots=True)
class LearnedRouting:
    """The routing of a task, and the negatives that it was learned with."""

    routing: TaskRouting
    negatives: UsedNegatives | None = None


def learn_routing(
    session: Session,
    clips: RoutingClips,
    model: TaskModel,
    seed: int,
    progress: Progress,
    *,
    negatives: NegativeClips | None = None,
    alpha: float = ALPHA,
) -> LearnedRouting:
    """Learn a task's routing from training clips and validation clips, and from altered copies of all of them.

    Of a clip that is longer than 10.24 s, the part is used that the router describes when such a clip is classified.

    Args:
        negatives: sounds that are none of the task's classes.
        alpha: the p-value below which a clip is to be unknown.

    Raises:
        AudioError: a clip cannot be read.
        StreamError: all clips are alike, or there are too few negatives.
        NotFiniteError: the task answers with values that are not numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    training = _sample(clips.training, MOST, generator)
    validation = _sample(clips.validation, MOST_VALIDATION, generator)
    index = {label: position for position, label in enumerate(clips.labels)}
    # Said before it begins: the router space of a new registry takes seconds to measure.
    progress(Step(_LEARNING, 0, len(training)))
    space = session.routing.space
    others = None if negatives is None else _negatives(session, negatives, model.settings.front_end.seconds, progress)
    described = _described(session, training, _LEARNING, progress)
    progress(Step(_LIMIT, 0, len(validation)))
    logits = joined_logits_of(model, session.clips.read([clip.place for clip in validation]))
    routing = learn(
        described,
        [index[clip.labels[0]] for clip in training],  # of several tags the first
        _described(session, validation, _LIMIT, progress),
        generator=generator,
        kind=space.kind,
        description_id=space.description_id,
        copies=COPIES,
        noise=space.noise,
        logits=logits,
        negatives=others,
        alpha=alpha,
    )
    if negatives is None or others is None:
        return LearnedRouting(routing)
    unknown = unknown_negatives(routing, others, COPIES, space.noise)
    return LearnedRouting(routing, UsedNegatives(negatives.folder, len(others) // COPIES, unknown))


def _negatives(session: Session, negatives: NegativeClips, seconds: float, progress: Progress) -> Tensor:
    """Return the descriptions (copies · n, d) of the pieces of negatives, and of altered copies of them."""
    space = session.routing.space
    out: list[list[Tensor]] = [[] for _ in range(COPIES)]
    negatives.require_enough(seconds)
    for number, pieces in enumerate(negatives.pieces(seconds), 1):
        for part in chunks(len(pieces), _CHUNK):
            versions = zip(*(copies(pieces[index]) for index in part), strict=True)
            for described, version in zip(out, versions, strict=True):
                described.append(space.describe(version))
        progress(Step("describing negatives", number, len(negatives.paths)))
    return torch.cat([torch.cat(described) for described in out])


def _described(session: Session, clips: Sequence[streams.Clip], stage: str, progress: Progress) -> Tensor:
    """Return the descriptions (copies · n, d) of clips and of their altered copies, one kind after another."""
    space = session.routing.space
    out: list[list[Tensor]] = [[space.describe([])] for _ in range(COPIES)]
    parts = list(chunks(len(clips), _GPU_CHUNK if session.backbone.device.type == "cuda" else _CHUNK))

    def versions(part: range) -> Sequence[Sequence[Waveform]]:
        waveforms = [part_to_describe(one) for one in session.clips.read([clips[index].place for index in part])]
        return list(zip(*pool.map(copies, waveforms), strict=True))

    with (
        ThreadPoolExecutor(cpu_count() or 1) as pool,
        closing(ahead(partial(versions, part) for part in parts)) as read,
    ):
        for part, made in zip(parts, read, strict=True):
            for described, version in zip(out, made, strict=True):
                described.append(space.describe(version))
            progress(Step(stage, part.stop, len(clips)))
    return torch.cat([torch.cat(described) for described in out])


def _sample(clips: Sequence[streams.Clip], most: int, generator: torch.Generator) -> list[streams.Clip]:
    order = torch.randperm(len(clips), generator=generator)[:most].sort().values.tolist()
    return [clips[index] for index in order]
