"""Test accuracy of tasks, by name and routed, in one pass over their test clips."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import streams
from cl_ast.audio.windows import Segment
from cl_ast.batching import chunks
from cl_ast.errors import AudioError, NotFiniteError, StreamError
from cl_ast.inference.answering import Answer, NoAnswer, answer, joined_logits_of
from cl_ast.inference.session import Session
from cl_ast.progress import Progress, Step, silent
from cl_ast.router import Router, decide, part_to_describe
from cl_ast.tasks.source import reload_version
from registry import Accuracy, TaskRecord

_CHUNK = 64  # clips


@dataclass(frozen=True, slots=True)
class Measured:
    """One task's test accuracy.

    Attributes:
        oracle: by name.
        auto: routed: the share of clips whose task and label are both right; None where routing was not measured.
        routed: how many clips the router sent to each task.
        declined: how many clips it answered "unknown"; they count where they were sent all the same.
    """

    task: str
    clips: int
    oracle: float
    auto: float | None = None
    routed: Mapping[str, int] | None = None
    declined: int = 0

    def records(self) -> list[Accuracy]:
        """Return what the registry keeps of it."""
        out = [Accuracy(self.task, "oracle", self.oracle, self.clips)]
        if self.auto is not None:
            out.append(Accuracy(self.task, "auto", self.auto, self.clips, self.routed or {}))
        return out


def measure(
    session: Session,
    name: str,
    clips: Sequence[streams.Clip],
    router: Router | None = None,
    progress: Progress = silent,
) -> Measured:
    """Test one task. Each clip is read once, and answered as `predict` answers it: a longer one by its windows.

    Args:
        router: over all tasks; None measures by name only. What it decides is decided as `predict` does it.

    Raises:
        AudioError: a clip cannot be read.
        NotFiniteError: the task answers with values that are not numbers. Where another task does that to which a clip
            is routed, the clip is answered wrongly.
    """
    model = session.model(name)
    right = right_and_routed = declined = 0
    routed: Counter[str] = Counter()
    for part in chunks(len(clips), _CHUNK):
        mine = [clips[index] for index in part]
        paths = [clip.path for clip in mine]
        waveforms = session.clips.read(paths)
        by_name = [Answer(logits, model.settings) for logits in joined_logits_of(model, waveforms)]
        right += sum(one.label == clip.label for one, clip in zip(by_name, mine, strict=True))
        if router is not None:
            parts = [part_to_describe(waveform) for waveform in waveforms]
            described = session.descriptions.describe(session.routing.space, paths, parts)
            segments = [Segment(str(path), waveform) for path, waveform in zip(paths, waveforms, strict=True)]
            answers = partial(_answers, session, name, by_name, segments)
            for clip, (route, one) in zip(mine, decide(router, described, answers), strict=True):
                routed[route.task] += 1
                declined += not route.known
                right_and_routed += isinstance(one, Answer) and route.task == name and one.label == clip.label
        progress(Step(f"measuring {name}", part.stop, len(clips)))
    if router is None:
        return Measured(name, len(clips), right / len(clips))
    return Measured(name, len(clips), right / len(clips), right_and_routed / len(clips), dict(routed), declined)


def _answers(
    session: Session,
    name: str,
    own: Sequence[Answer],
    segments: Sequence[Segment],
    pairs: Sequence[tuple[int, str]],
) -> list[Answer | NoAnswer]:
    """Answer pairs of a segment's row and a task; `own` are the answers of the task `name`, which are there already."""
    others = iter(answer(session, [(segments[row], task) for row, task in pairs if task != name]))
    return [own[row] if task == name else next(others) for row, task in pairs]


def measure_stored(
    session: Session,
    records: Sequence[TaskRecord],
    router: Router | None,
    progress: Progress = silent,
) -> tuple[list[Measured], dict[str, str]]:
    """Measure tasks on the test clips that they were trained with, loaded again.

    Returns what was measured, and the tasks that could not be measured with the reason: clips that have moved or
    changed, and tasks that answer with values that are not numbers, are no reason to stop.
    """
    measured, skipped = [], {}
    for record in records:
        try:
            task = reload_version(session.registry, record.version)
            measured.append(measure(session, record.name, task.test, router, progress))
        except (StreamError, AudioError, NotFiniteError) as error:
            skipped[record.name] = str(error)
    return measured, skipped
