"""Where a version came from: learned here, or imported; and whether the router may choose it. Imports no torch.

A stranger's routing could draw the clips of other tasks, so an imported task answers by name only until its routing is
learned here. The source of an imported version says both. `as_imported` puts all that a stranger wrote under one key,
so no import can say that its routing was learned here.
"""

import shlex
from collections.abc import Mapping
from typing import Any

from registry.version_facts import VersionFacts

_IMPORTED, _ROUTING, _HERE = "imported", "routing", "learned here"


def as_imported(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the source to record for an imported task, whose clips are not here."""
    return {_IMPORTED: dict(original(source))}


def is_imported(source: Mapping[str, Any]) -> bool:
    """Return whether the task was imported rather than learned here."""
    return _IMPORTED in source


def original(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the source that was recorded where the task was learned."""
    found = source.get(_IMPORTED, source)
    return found if isinstance(found, Mapping) else {}


def with_own_routing(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the source to record where the routing of an imported task was learned here."""
    return {**source, _ROUTING: _HERE} if is_imported(source) else dict(source)


def by_name_only(version: VersionFacts) -> bool:
    """Return whether a version answers by name only: it was imported, or `cl-ast route` dropped its routing."""
    if is_imported(version.source) and version.source.get(_ROUTING) != _HERE:
        return True
    return "routing" in version.training and version.training["routing"] is None


def routing_of(version: VersionFacts) -> Mapping[str, Any]:
    """Return what is recorded of a version's routing; nothing for a version of an older cl-ast."""
    found = version.training.get("routing")
    return found if isinstance(found, Mapping) and not by_name_only(version) else {}


def how_to_route(task: str) -> str:
    """Return the command that lets the router choose a task that answers by name only."""
    return f"`cl-ast route {shlex.quote(task)} --with DIR`"
