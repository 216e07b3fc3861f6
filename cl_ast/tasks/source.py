"""Where a task's clips are: recorded with each version, or left behind where the task was imported."""

from collections.abc import Mapping
from typing import Any

import streams
from cl_ast.errors import StreamError

_IMPORTED = "imported"


def as_imported(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the source to record for a task that is imported: its clips did not come along."""
    return {_IMPORTED: dict(original(source))}


def is_imported(source: Mapping[str, Any]) -> bool:
    """Return whether the task was imported, and not learned here."""
    return _IMPORTED in source


def original(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the source as it was recorded where the task was learned."""
    found = source.get(_IMPORTED, source)
    return found if isinstance(found, Mapping) else {}


def loadable(source: Mapping[str, Any]) -> streams.Source:
    """Return the source in the form that `streams.reload` takes.

    Raises:
        StreamError: the task was imported, or its source is not one of `streams`.
    """
    if is_imported(source):
        raise StreamError("it was imported, and the clips that it was learned from did not come along")
    return streams.Source.from_json(source)
