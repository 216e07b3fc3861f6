"""Finds the clips of a task again: each version records where they are, unless it was imported without them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streams
from cl_ast.errors import StreamError
from cl_ast.excerpts import sort_key
from cl_ast.tasks.origin import is_imported
from cl_ast.tasks.task_file import split_in
from registry import Registry, VersionRecord
from streams.recorded_split import SPLITS, RecordedSplit, find_recorded, reload_recorded


@dataclass(frozen=True, slots=True)
class VersionSplit:
    """Which clip is in which split of a version.

    Attributes:
        clips: the clips of each split that are there, sorted by path.
        missing: how many clips of each split are gone, or have changed since.
    """

    clips: Mapping[str, Sequence[streams.Clip]]
    missing: Mapping[str, int]


def loadable(source: Mapping[str, Any]) -> streams.Source:
    """Return the source in the form that `streams.reload` takes.

    Raises:
        StreamError: the task was imported, or its source is not one of `streams`.
    """
    if is_imported(source):
        raise StreamError("it was imported, and the clips that it was learned from did not come along")
    return streams.Source.from_json(source)


def reload_version(registry: Registry, version: VersionRecord) -> streams.Task:
    """Load the clips of a version again, each in the split that it was in when the version was trained.

    Raises:
        StreamError: the task was imported, or its clips are gone, or the data have changed so that its split cannot be
            found again.
    """
    return reload_recorded(loadable(version.source), _recorded(registry, version))


def split_of(registry: Registry, version: VersionRecord) -> VersionSplit:
    """Return which clip is in which split of a version, as its file records it, of the clips that are still there.

    Raises:
        StreamError: as `reload_version`; but clips that are gone are no error where the version recorded its split.
    """
    source, recorded = loadable(version.source), _recorded(registry, version)
    if not recorded.members:  # of an older release
        task = reload_recorded(source, recorded)
        return VersionSplit({"train": task.train, "validation": task.validation, "test": task.test}, {})
    try:
        found = find_recorded(source, recorded)
    except StreamError as error:
        if Path(source.data).is_dir():
            raise
        counts = ", ".join(f"{len(recorded.members.get(split, ()))} {split}" for split in SPLITS)
        raise StreamError(
            f"{source.data} is not there: it had the clips of {version.task} ({counts}); put the folder back"
        ) from error
    clips = {
        split: sorted(map(streams.Clip.of, found[split]), key=lambda clip: sort_key(clip.place)) for split in SPLITS
    }
    return VersionSplit(
        clips, {split: max(0, len(recorded.members.get(split, ())) - len(clips[split])) for split in SPLITS}
    )


def _recorded(registry: Registry, version: VersionRecord) -> RecordedSplit:
    members = split_in(registry.read_adapter(version))
    return RecordedSplit(version.labels, version.data_fingerprint, version.protocol, members)
