"""How much of a clip a stored task hears, in seconds; this module imports no torch, so that listing tasks is quick."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from cl_ast.errors import ClAstError
from registry import Registry, TaskRecord, VersionRecord, header

KEY = "hears"  # in the record of a training
_LONGEST = 60.0  # more than any front end takes
_MOST_READ = 20  # files that are read for a list


def recorded_seconds(version: VersionRecord) -> float | None:
    """Return how many seconds of a clip a version takes; None where an older release did not record it."""
    found = version.training.get(KEY)
    usable = isinstance(found, int | float) and not isinstance(found, bool) and 0 < found <= _LONGEST
    return float(found) if usable else None  # type: ignore[arg-type]


def seconds_of(registry: Registry, version: VersionRecord) -> float | None:
    """Return the same, from the header of the version's file where it is not recorded; None for a damaged file."""
    found = recorded_seconds(version)
    if found is None:
        with suppress(ClAstError):
            found = _in_header(header.read(registry.read_adapter(version)).description())
    return found


def all_seconds(registry: Registry, records: Sequence[TaskRecord]) -> dict[str, float | None]:
    """Return the same for tasks, by name; at most 20 files are read for it, and the rest are None."""
    out, files = {}, 0
    for record in records:
        found = recorded_seconds(record.version)
        if found is None and files < _MOST_READ:
            found, files = seconds_of(registry, record.version), files + 1
        out[record.name] = found
    return out


def _in_header(description: Mapping[str, Any]) -> float | None:
    front_end = description.get("front_end")
    if not isinstance(front_end, Mapping):
        return None
    for name, rate in (("frames", 100), ("samples", 16_000)):
        count = front_end.get(name)
        if type(count) is int and 0 < count <= _LONGEST * rate:
            return count / rate
    return None
