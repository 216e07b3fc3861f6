"""Reads rows of the database as records; queries that several parts of the registry need.

Times and JSON are selected as text, which both databases then write alike.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cl_ast.errors import RegistryError, TaskNotFoundError
from registry import names
from registry.database import Reader, Rows, Writer
from registry.manifest import Manifest
from registry.records import BackboneRecord, TaskRecord, VersionRecord
from registry.version_facts import RULES

if TYPE_CHECKING:
    from registry.models import TaskRow

BACKBONE_ID = 1

_FACTS = ", ".join(f"CAST(v.{name} AS TEXT)" if rule.json else f"v.{name}" for name, rule in RULES.items())
_JSON_FACTS = [place for place, rule in enumerate(RULES.values()) if rule.json]
_VERSIONS = f"""
    SELECT v.id, t.name, v.number, v.adapter_sha256, v.adapter_bytes, CAST(v.created AS TEXT), t.id,
        CAST(t.created AS TEXT), {_FACTS}
    FROM versions v JOIN tasks t ON v.task_id = t.id"""
_CURRENT = f"{_VERSIONS} AND v.id = t.current_version_id"
_IN_ORDER = " ORDER BY v.id"
_DECODER = json.JSONDecoder()


def versions(reader: Reader, task_id: int | None = None) -> list[VersionRecord]:
    """Return every version of every task, or of one task, oldest first."""
    if task_id is None:
        found = reader.query(_VERSIONS + _IN_ORDER)
    else:
        found = reader.query(f"{_VERSIONS} WHERE t.id = ?{_IN_ORDER}", task_id)
    return [version for version, *_ in _records(found)]


def version(reader: Reader, version_id: int) -> VersionRecord | None:
    """Return the version of that id, or None where it was dropped."""
    return next((version for version, *_ in _records(reader.query(f"{_VERSIONS} WHERE v.id = ?", version_id))), None)


def tasks(reader: Reader) -> list[TaskRecord]:
    """Return every task, in the order in which the current versions were learned."""
    return list(_tasks(reader.query(_CURRENT + _IN_ORDER)))


def task(reader: Reader, name: str) -> TaskRecord:
    """Return the task of that name. Raises TaskNotFoundError."""
    for record in _tasks(reader.query(f"{_CURRENT} WHERE t.key = ?", names.key(name))):
        return record
    raise missing(reader, name)


def current(reader: Reader, wanted: Iterable[str]) -> dict[str, VersionRecord]:
    """Return the current version of each task, by the name that was given; names that do not exist are left out."""
    keys = {names.key(name): name for name in wanted}
    marks = ", ".join("?" * len(keys))
    found = reader.query(f"{_CURRENT} WHERE t.key IN ({marks})", *keys) if keys else []
    return {keys[names.key(record.name)]: record.version for record in _tasks(found)}


def ids(reader: Reader, name: str) -> tuple[int, int]:
    """Return the ids of a task and of its current version. Raises TaskNotFoundError."""
    for task_id, version_id in reader.query("SELECT id, current_version_id FROM tasks WHERE key = ?", names.key(name)):
        return task_id, version_id
    raise missing(reader, name)


def missing(reader: Reader, name: str) -> TaskNotFoundError:
    """Return the error for a name that is not there, which says what the names are."""
    known = [str(row[0]) for row in reader.query("SELECT name FROM tasks ORDER BY id")]
    return TaskNotFoundError(f'no task "{name}" in the registry: {names.suggestion(name, known)}')


def backbone(reader: Reader) -> BackboneRecord | None:
    """Return the registry's backbone, or None where it has none yet."""
    found = reader.query("SELECT name, fingerprint, parameters, bytes, background FROM backbone")
    for name, fingerprint, parameters, size, background in found:
        return BackboneRecord(name, fingerprint, parameters, size, bytes(background))
    return None


def require_backbone(reader: Reader) -> BackboneRecord:
    """Return the registry's backbone. Raises RegistryError where it has none yet."""
    known = backbone(reader)
    if known is None:
        raise RegistryError("this registry has no backbone yet: set_backbone comes before the first task")
    return known


def check_same_backbone(backbone: BackboneRecord, words: Mapping[str, Any]) -> None:
    """Raise RegistryError for an adapter whose description says that it belongs to another backbone."""
    other = words.get("backbone")
    fingerprint = other.get("fingerprint") if isinstance(other, Mapping) else None
    if fingerprint is not None and fingerprint != backbone.fingerprint:
        raise RegistryError(
            f"this adapter was learned on another backbone ({fingerprint}) than the registry's, {backbone.name} "
            f"({backbone.fingerprint}): keep it in a registry of its own, or train it again "
            "over this backbone with `cl-ast relearn --to REGISTRY`"
        )


def next_instant(reader: Reader) -> datetime:
    """Return now, but after the last version even if the clock was set back: the order of learning must not change."""
    now = datetime.now(UTC)
    for (last,) in reader.query("SELECT CAST(created AS TEXT) FROM versions ORDER BY id DESC LIMIT 1"):
        return max(now, instant(last) + timedelta(microseconds=1))
    return now


def find(writer: Writer, name: str) -> "TaskRow | None":
    """Return the row of the task of that name, for changing it; None where there is none."""
    from sqlalchemy import select

    from registry.models import TaskRow

    return writer.session.scalar(select(TaskRow).where(TaskRow.key == names.key(name)))


def require(writer: Writer, name: str) -> "TaskRow":
    """Return the row of the task of that name, for changing it. Raises TaskNotFoundError."""
    row = find(writer, name)
    if row is None:
        raise missing(writer, name)
    return row


def version_values(manifest: Manifest, task_id: int, sha256: str, size: int) -> dict[str, Any]:
    """Return the columns of a version, but for its id."""
    return {
        "task_id": task_id,
        "number": manifest.number,
        "backbone_id": BACKBONE_ID,
        "adapter_sha256": sha256,
        "adapter_bytes": size,
        "created": manifest.created,
        **manifest.new.to_json(),
    }


def instant(text: str) -> datetime:
    """Return the time that a database wrote, which is in UTC."""
    return datetime.fromisoformat(f"{text}+00:00")


def _records(found: Rows) -> Iterator[tuple[VersionRecord, int, str]]:
    """Yield each version, with the id of its task and when that was made. Nothing is checked: that takes time."""
    parsed: dict[str, Any] = {}  # many versions share their JSON, and parsing it takes most of the time
    for id, name, number, sha256, size, created, task_id, task_created, *facts in found:
        for place in _JSON_FACTS:
            text = facts[place]
            if text not in parsed:
                parsed[text] = _from_json(text)
            facts[place] = parsed[text]
        version = VersionRecord(
            *facts,
            id=id,
            task=name,
            number=number,
            adapter_sha256=sha256,
            adapter_bytes=size,
            created=instant(created),
        )
        yield version, task_id, task_created


def _from_json(text: str) -> Any:
    value, _ = _DECODER.raw_decode(text)
    return tuple(value) if isinstance(value, list) else value


def _tasks(found: Rows) -> Iterator[TaskRecord]:
    for version, task_id, created in _records(found):
        yield TaskRecord(task_id, version.task, instant(created), version)
