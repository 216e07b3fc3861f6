"""Finds the split that a version of a task recorded again, in data that may have changed since.

A split that is drawn at random moves when clips are added: a clip that was trained on may then be among the test clips.
So a version records which clip was in which split, as a hash of four bytes a clip.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cl_ast.errors import StreamError
from cl_ast.excerpts import sort_key
from streams.loading import read_records, reload, task_of
from streams.records import Record, Splits
from streams.task import Clip, Source, Task, span_words
from streams.values import nfc

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class RecordedSplit:
    """What a version recorded of its split.

    Attributes:
        labels: the classes, in the order of the head's outputs.
        fingerprint: `Task.fingerprint` of the data as they were.
        protocol: the sentence that says how the split was made.
        members: the hashes of the clips of each of `SPLITS`; empty for a version of an older release.
    """

    labels: tuple[str, ...]
    fingerprint: str
    protocol: str
    members: Mapping[str, frozenset[int]]


def members_of(task: Task) -> dict[str, list[int]]:
    """Return the hashes of the clips of each split, in rising order.

    Raises:
        StreamError: a clip no longer exists.
    """
    root = Path(task.source.data)
    return {split: sorted(_hashes(getattr(task, split), root)) for split in SPLITS}


def reload_recorded(source: Source, recorded: RecordedSplit) -> Task:
    """Load a task of an earlier `load` again, with exactly the clips of each split that it had then.

    Clips that were added since are left out.

    Raises:
        StreamError: the data are missing or unusable; or clips of the task are gone or have changed; or the data have
            changed and the version did not record its split.
    """
    if not recorded.members:
        return _unchanged(source, recorded)
    with suppress(StreamError):
        task = reload(source)
        if task.fingerprint() == recorded.fingerprint:
            return task
    found = find_recorded(source, recorded)
    for split in SPLITS:
        known = len(recorded.members.get(split, ()))
        missing = known - len(found[split])
        if missing:
            raise StreamError(
                f"{source.data}: {max(missing, 1)} of its {known} {split} clips are "
                "gone or have changed since it was trained; put them back, or train it again with "
                "`cl-ast add-task --replace`"
            )
    splits = Splits(*(sorted(found[split], key=lambda one: sort_key(one.place)) for split in SPLITS))
    return task_of(source, recorded.labels, splits, recorded.protocol)


def find_recorded(source: Source, recorded: RecordedSplit) -> dict[str, list[Record]]:
    """Return the clips of a version that are there now, by the split that each was in. Others are left out.

    Raises:
        StreamError: the data are missing or unusable.
    """
    found: dict[str, list[Record]] = {split: [] for split in SPLITS}
    known = set(recorded.labels)
    records = [record for record in read_records(source).records if not known.isdisjoint(record.labels)]
    for record, split in zip(records, splits_of(records, Path(source.data), recorded.members), strict=True):
        if split is not None:
            found[split].append(record)
    return found


def splits_of(
    clips: Sequence[Record] | Sequence[Clip], root: Path, members: Mapping[str, frozenset[int]]
) -> list[str | None]:
    """Return the recorded split of each clip of a folder; None for a clip that is in none.

    A clip is recognised by its path in the folder, its label and its size, so in a copy of the folder, too. Of an
    excerpt, where it begins and ends counts as well.

    Raises:
        StreamError: a clip no longer exists.
    """
    numbers = [_hash(clip, root) for clip in clips]
    return [next((split for split in SPLITS if number in members.get(split, ())), None) for number in numbers]


def _unchanged(source: Source, recorded: RecordedSplit) -> Task:
    task = reload(source)
    if recorded.fingerprint and task.fingerprint() != recorded.fingerprint:
        raise StreamError(
            f"{source.data}: the data have changed since it was trained, and its version did not record which clips it "
            "was trained on; train it again with `cl-ast add-task --replace`"
        )
    return task


def _hashes(clips: Iterable[Clip], root: Path) -> set[int]:
    return {_hash(clip, root) for clip in clips}


def _hash(clip: Record | Clip, root: Path) -> int:
    """Return four bytes of SHA-256 over a clip's path in the data, its label, its size in bytes and its span."""
    try:
        size = clip.path.stat().st_size
    except OSError as error:
        raise StreamError(f"{clip.path}: the clip is gone ({error.strerror}); load the task again") from None
    text = "\0".join((clip.path.relative_to(root).as_posix(), clip.label, str(size), *span_words(clip.span)))
    digest = hashlib.sha256(nfc(text).encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:4], "little")
