"""Answers for waveforms: under one task by name, under several tasks in one batch, or under the task that is routed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.audio.front_ends import FrontEnd
from cl_ast.audio.log_mel import LogMelFrontEnd, frame_count, log_mel
from cl_ast.audio.reading import Waveform
from cl_ast.audio.recordings import Recording
from cl_ast.audio.windows import Segment, SharedBlock
from cl_ast.batching import chunks
from cl_ast.errors import NotFiniteError
from cl_ast.inference.joining import Cut, cut_of, joined
from cl_ast.inference.session import Session
from cl_ast.tasks import mixed_batch
from cl_ast.tasks.kind_names import TAGS
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from registry import VersionRecord

SEGMENTS = 32  # that are routed and answered together on a CPU, and rows of a batch by name
BATCH = 8  # rows of one pass on a CPU, where more gain nothing (docs/performance-measured.md)
GPU_BATCH = 256  # segments that are answered together on a GPU, and rows of one pass


@dataclass(frozen=True, slots=True)
class Answer:
    """The logits (classes,) of one clip, float32 on the CPU, and the task that gave them, as it was then.

    Attributes:
        cut: the windows whose logits were joined; None where the clip was classified as it is.
    """

    logits: Tensor
    settings: TaskSettings
    cut: Cut | None = None

    @property
    def label(self) -> str:
        """The most probable label."""
        return self.settings.labels[int(self.logits.argmax())]

    @property
    def tags(self) -> tuple[str, ...] | None:
        """Of a task of tags, those that are true of the clip, the most probable first; None for classes."""
        if self.settings.kind != TAGS:
            return None
        return self.settings.true_labels(self.settings.probabilities(self.logits).tolist())


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A task that could not answer a clip, the error that says why, and no logits (0,)."""

    error: NotFiniteError
    logits: Tensor = field(default_factory=lambda: torch.zeros(0))


def batch_size(device: torch.device) -> int:
    """Return how many rows share one pass on this device."""
    return BATCH if device.type == "cpu" else GPU_BATCH


def logits_of(model: TaskModel, clips: Sequence[Waveform]) -> Tensor:
    """Return one task's logits (n, classes) for waveforms, float32 on the CPU.

    Only the task's own tensors take part, in batches of its clips alone: the same clips give the same bits for ever.

    Raises:
        NotFiniteError: a logit is not a number.
    """
    device = model.backbone.device
    out = []
    with torch.inference_mode(), model.backbone.precision():
        for part in chunks(len(clips), SEGMENTS):
            features = model.settings.front_end([clips[index] for index in part], device)
            out.append(model.logits(features).float().cpu())
    found = torch.cat(out) if out else torch.zeros(0, len(model.settings.labels))
    if not torch.isfinite(found).all():
        raise not_finite(model.settings.name)
    return found


def joined_logits_of(model: TaskModel, clips: Sequence[Waveform]) -> Tensor:
    """Return one task's logits (n, classes) for clips as `predict` classifies them: longer ones by their windows.

    For clips that are not longer than the task takes, they are those of `logits_of`, bit-identical.

    Raises:
        NotFiniteError: a logit is not a number.
    """
    seconds = model.settings.front_end.seconds
    windows: list[Waveform] = []
    counts = []
    for clip in clips:
        cut = cut_of(clip, seconds)
        own = [clip] if cut is None else list(cut.waveforms(clip))
        windows += own
        counts.append(len(own))
    found = logits_of(model, windows)
    return torch.stack([joined(rows) for rows in torch.split(found, counts)]) if len(clips) else found


def answer(
    session: Session, wanted: Sequence[tuple[Segment | Recording, str]], *, whole: bool = False
) -> list[Answer | NoAnswer]:
    """Answer each clip under the task that is named beside it, in order; a clip may appear several times.

    A clip that is longer than its task takes is cut into windows, and the logits of those that sound are joined.
    The database is queried once at most. A task whose weights or logits are not all numbers gives no answer,
    and the others do.

    Args:
        whole: take the first seconds of a longer clip instead.

    Raises:
        TaskNotFoundError, CorruptRegistryError: of one of the tasks.
        AudioError: the file of a recording cannot be read.
    """
    if not wanted:
        return []
    versions = session.versions(name for _, name in wanted)
    cuts = [None if whole else cut_of(clip, session.takes(name, versions.get(name))) for clip, name in wanted]
    rows: list[tuple[Segment, str]] = []
    places: dict[int, slice] = {}  # of the rows of each clip that is in memory
    for place, ((clip, name), cut) in enumerate(zip(wanted, cuts, strict=True)):
        if isinstance(clip, Segment):
            own = [clip] if cut is None else [Segment(clip.path, window) for window in cut.waveforms(clip)]
            places[place] = slice(len(rows), len(rows) + len(own))
            rows += [(segment, name) for segment in own]
    found = _answered(session, rows, versions)
    out = []
    for place, ((clip, name), cut) in enumerate(zip(wanted, cuts, strict=True)):
        if isinstance(clip, Segment):
            several = found[places[place]]
        else:
            several = _of_recording(session, clip, name, cut, versions)
        out.append(several[0] if cut is None else _joined(several, cut))
    return out


def _of_recording(
    session: Session, clip: Recording, name: str, cut: Cut | None, versions: dict[str, VersionRecord]
) -> list[Answer | NoAnswer]:
    """Answer the windows of a clip that is not in memory, a few at a time."""
    windows = clip.cut([0], clip.samples) if cut is None else cut.waveforms(clip)
    found: list[Answer | NoAnswer] = []
    while part := list(islice(windows, SEGMENTS)):
        found += _answered(session, [(Segment(clip.path, window), name) for window in part], versions)
    return found


def _joined(answers: Sequence[Answer | NoAnswer], cut: Cut) -> Answer | NoAnswer:
    """Return the answer for a clip from those for its windows; no answer where one of them has none."""
    own = [one for one in answers if isinstance(one, Answer)]
    none = next((one for one in answers if isinstance(one, NoAnswer)), None)
    return none or Answer(joined([one.logits for one in own]), own[0].settings, cut)


def _answered(
    session: Session, wanted: Sequence[tuple[Segment, str]], versions: dict[str, VersionRecord]
) -> list[Answer | NoAnswer]:
    """Answer segments as they are under these versions of their tasks, in order.

    Rows of different tasks share a pass through the backbone. Cached tasks answer first, while the others are read in a
    thread.
    """
    if not wanted:
        return []
    backbone = session.backbone  # loaded here, and not by the thread that reads ahead
    order = sorted(range(len(wanted)), key=lambda row: _urgency(session, versions, wanted[row][1]))
    size = batch_size(backbone.device)
    batches = [order[first : first + size] for first in range(0, len(order), size)]
    out: dict[int, Answer | NoAnswer] = {}
    for rows, after in zip(batches, [*batches[1:], []], strict=True):
        tasks = {name: _model(session, versions, name) for name in dict.fromkeys(wanted[row][1] for row in rows)}
        session.expect(versions[wanted[row][1]] for row in after if wanted[row][1] in versions)
        pairs = []
        for row in rows:
            segment, name = wanted[row]
            task = tasks[name]
            if isinstance(task, TaskModel):
                pairs.append((row, task, segment))
            else:
                out[row] = task
        if not pairs:
            continue
        found = logits_together([(task, segment) for _, task, segment in pairs])
        for (row, task, _), logits in zip(pairs, found, strict=True):
            out[row] = checked(logits, task.settings, wanted[row][1])
    return [out[row] for row in range(len(wanted))]


def logits_together(rows: Sequence[tuple[TaskModel, Segment]]) -> list[Tensor]:
    """Return the logits (classes,) of segments, each under the task beside it, float32 on the CPU.

    Rows that can share a pass through the backbone do; `mixed_batch.logits` says which can. No row is cut.
    """
    with torch.inference_mode():
        found = mixed_batch.logits(_rows_of(rows))
        # In one copy, since each waits for the GPU.
        together = torch.cat([one.float() for one in found]).cpu()
    return list(torch.split(together, [len(one) for one in found]))


def steps_together(rows: Sequence[tuple[TaskModel, Segment]]) -> list[tuple[Tensor, Tensor]]:
    """Return the logits (classes,) of segments, each under the task beside it, and those of each of its steps in time.

    The logits of the steps (n, classes) are those of `TaskModel.timeline`; n is 0 where the task has no timeline. Rows
    of one task share a pass through the backbone. All are float32 on the CPU.
    """
    found: dict[int, tuple[Tensor, Tensor]] = {}
    features = _rows_of(rows)
    with torch.inference_mode():
        for model in {id(one): one for one, _ in rows}.values():
            own = [row for row, (other, _) in enumerate(rows) if other is model]
            with model.backbone.precision():
                tokens = model.tokens(torch.stack([features[row][1] for row in own]))
                logits = model.classify(tokens).float().cpu()
                steps = model.timeline(tokens).float().cpu() if model.has_timeline else logits.new_zeros(len(own), 0, 0)
            found |= {row: (logits[place], steps[place]) for place, row in enumerate(own)}
    return [found[row] for row in range(len(rows))]


def _urgency(session: Session, versions: dict[str, VersionRecord], name: str) -> tuple[bool, str, str]:
    """Return the place of a task in the order of work: what is in memory first, equal methods side by side."""
    version = versions.get(name)
    if version is None:  # a candidate, which is in memory
        return False, "", name
    return not session.is_cached(version), version.method, name


def _model(session: Session, versions: dict[str, VersionRecord], name: str) -> TaskModel | NoAnswer:
    version = versions.get(name)
    try:
        return session.model(name) if version is None else session.version(name, version).model
    except NotFiniteError as error:
        return NoAnswer(error)


def checked(logits: Tensor, settings: TaskSettings, name: str) -> Answer | NoAnswer:
    """Return the answer of a task of this name with these logits (classes,); none where they are not all numbers."""
    return Answer(logits, settings) if torch.isfinite(logits).all() else NoAnswer(not_finite(name))


def not_finite(task: str) -> NotFiniteError:
    """Return the error of a task whose logits are not all numbers."""
    return NotFiniteError(
        f"the task {task} answers with values that are not numbers; train or import it again, or go back to an earlier "
        "version of it"
    )


def _rows_of(pairs: Sequence[tuple[TaskModel, Segment]]) -> list[mixed_batch.Row]:
    """Return each segment as its task's front end makes it; those of one front end are made together."""
    out: dict[int, Tensor] = {}
    device = pairs[0][0].backbone.device
    for front_end in dict.fromkeys(model.settings.front_end for model, _ in pairs):
        rows = [row for row, (model, _) in enumerate(pairs) if model.settings.front_end == front_end]
        out |= zip(rows, features_of(front_end, [pairs[row][1] for row in rows], device), strict=True)
    return [(model, out[row]) for row, (model, _) in enumerate(pairs)]


def features_of(front_end: FrontEnd, segments: Sequence[Segment], device: torch.device) -> Tensor:
    """Return features (segments, *shape). Windows of one block share its log-mel frames, which are computed once."""
    if not isinstance(front_end, LogMelFrontEnd) or any(segment.block is None for segment in segments):
        return front_end([segment.waveform for segment in segments], device)
    rows = []
    for segment in segments:
        assert segment.block is not None
        whole = shared_log_mel(segment.block, device)
        count = min(front_end.frames, frame_count(len(segment.waveform)))
        frames = whole[segment.first : segment.first + count]
        rows.append(F.pad(frames, (0, 0, 0, front_end.frames - count)))
    return front_end.normalise(torch.stack(rows))


def shared_log_mel(block: SharedBlock, device: torch.device) -> Tensor:
    """Return the log-mel frames (frames, 128) of a block, which are computed once for all its windows."""
    frames: Tensor = block.once(lambda samples: log_mel([samples], frame_count(len(samples)), device=device)[0])
    return frames
