"""Measures a task on a folder of labelled clips that are not the task's own; nothing of it is recorded."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cl_ast.errors import StreamError
from cl_ast.evaluation.accuracy import Measured, measure
from cl_ast.inference.session import Session
from cl_ast.progress import Progress
from cl_ast.tasks.kind_names import is_tags
from cl_ast.tasks.task_file import split_in
from cl_ast.wording import some_of
from registry import TaskRecord
from streams.labelled import read_labelled
from streams.recorded_split import splits_of

_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class FolderTest:
    """What measuring a task on a folder came to.

    Attributes:
        folder: where the clips are.
        measured: of the clips whose labels the task knows.
        other_labels: the labels that the task does not know, with the number of their clips. Those that have no label
            that the task knows are not measured.
        trained_on: how many of the measured clips the task was trained or validated on.
        notes: sentences about what was left out of the folder.
    """

    folder: Path
    measured: Measured
    other_labels: Mapping[str, int]
    trained_on: int
    notes: tuple[str, ...]


def measure_folder(session: Session, record: TaskRecord, folder: Path, *, auto: bool, progress: Progress) -> FolderTest:
    """Test a task on a folder: by name and, where the router can choose the task, routed.

    Args:
        auto: whether to measure routed, too.

    Raises:
        StreamError: the folder cannot be read, or the task knows none of its labels.
        AudioError: a clip cannot be read.
        NotFiniteError: the task answers with values that are not numbers.
    """
    found = read_labelled(folder, tags=is_tags(record.version))
    known = set(record.labels)
    clips = [clip for clip in found.clips if not known.isdisjoint(clip.labels)]
    others = Counter(label for clip in found.clips for label in clip.labels if label not in known)
    if not clips:
        raise StreamError(
            f"{folder}: the task {record.name} knows none of its labels ({some_of(list(others), _MOST_NAMES)}); "
            f"it knows {some_of(record.labels, _MOST_NAMES)}"
        )
    router = None
    if auto and record.name in session.routing.tasks():
        router = session.routing.router()
    members = split_in(session.registry.read_adapter(record.version))
    splits = splits_of(clips, folder.resolve(), members)
    measured = measure(session, record.name, clips, router, progress)
    seen = sum(split in ("train", "validation") for split in splits)
    return FolderTest(folder, measured, dict(sorted(others.items())), seen, found.notes)
