"""Finds the clips of a task again: each version records where they are, unless it was imported without them."""

from collections.abc import Mapping
from typing import Any

import streams
from cl_ast.errors import StreamError
from cl_ast.tasks.origin import is_imported
from cl_ast.tasks.task_file import split_in
from registry import Registry, VersionRecord
from streams.recorded_split import RecordedSplit, reload_recorded


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
    source = loadable(version.source)
    recorded = RecordedSplit(
        version.labels, version.data_fingerprint, version.protocol, split_in(registry.read_adapter(version))
    )
    return reload_recorded(source, recorded)
