"""Keeps the parts of one recording in one split. These functions touch no file.

A recording is then what a speaker is otherwise (see `streams.split_by_speaker`). Where recordings have speakers too,
recordings that share a speaker stay together.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cl_ast.errors import StreamError
from cl_ast.wording import plural
from streams.records import Record, Splits
from streams.split_by_speaker import split_by_speaker


def by_recording(records: Sequence[Record]) -> list[Record]:
    """Return the records with the group of their recording as their speaker."""
    leader: dict[str, str] = {}

    def lead(name: str) -> str:
        while leader.setdefault(name, name) != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for record in records:
        if record.speaker:
            one, other = sorted((lead(str(record.path)), lead(f"speaker\0{record.speaker}")))
            leader[other] = one
    return [replace(record, speaker=lead(str(record.path))) for record in records]


def folds_share_recordings(records: Sequence[Record]) -> bool:
    """Return whether parts of one recording are in two folds."""
    pairs = {(r.path, r.fold) for r in records}
    return len(pairs) > len({path for path, _ in pairs})


def split_by_recording(records: Sequence[Record], seed: int) -> tuple[Splits, str]:
    """Return three splits that share no recording, and the sentence that says so.

    Raises:
        StreamError: there are too few recordings for that.
    """
    splits = split_by_speaker(records, seed) if len({r.speaker for r in records}) > 2 else Splits([], [], [])
    if not all(splits):
        count = len({r.path for r in records})
        raise StreamError(
            f"the labelled parts are of {plural(count, 'recording')}, which cannot be divided: the"
            " three splits share no recording, and every class needs one to train on; label more recordings"
        )
    train, validation, test = (len({r.path for r in part}) for part in splits)
    clauses = ((test, "test"), (validation, "validate"), (train, "train"))
    said = ", ".join(f"1 recording {verb}s" if n == 1 else f"{n} recordings {verb}" for n, verb in clauses)
    return splits, f"by recording, no recording is in two splits (seed {seed}): {said}"


def check_apart(splits: Splits) -> None:
    """Check splits that were not drawn by recording.

    Raises:
        StreamError: two of them share a recording.
    """
    seen: dict[Path, str] = {}
    for name, part in zip(Splits._fields, splits, strict=True):
        for record in part:
            other = seen.setdefault(record.path, name)
            if other != name:
                raise StreamError(
                    f"{record.path.name} would have parts in the {other} split and in the {name} split, which never"
                    " share a recording; label more recordings, or leave out the column (or folders) of splits or folds"
                )
