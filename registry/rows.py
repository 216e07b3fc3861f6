"""Questions that several parts ask the database, and their answers as records.

Moments and JSON are asked for as text, which both databases then write alike.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cl_ast.errors import RegistryError, TaskNotFoundError
from registry import names
from registry.database import Asking, Rows, Writing
from registry.manifest import Manifest
from registry.records import BackboneRecord, TaskRecord, VersionRecord
from registry.version_facts import RULES

if TYPE_CHECKING:
    from registry.models import TaskRow

BACKBONE_ID = 1

_DECODER = json.JSONDecoder()
_JSON_PLACES = [place for place, rule in enumerate(RULES.values()) if rule.json]
_COLUMNS = ", ".join(f"CAST(v.{name} AS TEXT)" if rule.json else f"v.{name}" for name, rule in RULES.items())
_VERSIONS = f"""
    SELECT v.id, t.name, v.number, v.adapter_sha256, v.adapter_bytes, CAST(v.created AS TEXT), t.id,
        CAST(t.created AS TEXT), {_COLUMNS}
    FROM versions v JOIN tasks t ON v.task_id = t.id"""
_CURRENT = f"{_VERSIONS} AND v.id = t.current_version_id"
_IN_ORDER = " ORDER BY v.id"


def versions(asking: Asking, task_id: int | None = None) -> list[VersionRecord]:
    """Every version of every task, or of one, oldest first."""
    if task_id is None:
        found = asking.ask(_VERSIONS + _IN_ORDER)
    else:
        found = asking.ask(f"{_VERSIONS} WHERE t.id = ?{_IN_ORDER}", task_id)
    return [version for version, *_ in _records(found)]


def version(asking: Asking, version_id: int) -> VersionRecord | None:
    return next((version for version, *_ in _records(asking.ask(f"{_VERSIONS} WHERE v.id = ?", version_id))), None)


def tasks(asking: Asking) -> list[TaskRecord]:
    """Every task, in the order in which the versions that answer were learned."""
    return list(_tasks(asking.ask(_CURRENT + _IN_ORDER)))


def task(asking: Asking, name: str) -> TaskRecord:
    """The task of that name, or TaskNotFoundError with those there are."""
    for record in _tasks(asking.ask(f"{_CURRENT} WHERE t.key = ?", names.key(name))):
        return record
    raise missing(asking, name)


def current(asking: Asking, wanted: Iterable[str]) -> dict[str, VersionRecord]:
    """The version that answers for each of those names, by the name that was given; who is not there is left out."""
    keys = {names.key(name): name for name in wanted}
    marks = ", ".join("?" * len(keys))
    found = asking.ask(f"{_CURRENT} WHERE t.key IN ({marks})", *keys) if keys else []
    return {keys[names.key(record.name)]: record.version for record in _tasks(found)}


def ids(asking: Asking, name: str) -> tuple[int, int]:
    """Of a task and of its current version. Raises TaskNotFoundError."""
    for task_id, version_id in asking.ask("SELECT id, current_version_id FROM tasks WHERE key = ?", names.key(name)):
        return task_id, version_id
    raise missing(asking, name)


def missing(asking: Asking, name: str) -> TaskNotFoundError:
    known = [str(row[0]) for row in asking.ask("SELECT name FROM tasks ORDER BY id")]
    return TaskNotFoundError(f'no task "{name}" in the registry: {names.suggestion(name, known)}')


def backbone(asking: Asking) -> BackboneRecord | None:
    found = asking.ask("SELECT name, fingerprint, parameters, bytes, background FROM backbone")
    for name, fingerprint, parameters, size, background in found:
        return BackboneRecord(name, fingerprint, parameters, size, bytes(background))
    return None


def require_backbone(asking: Asking) -> BackboneRecord:
    known = backbone(asking)
    if known is None:
        raise RegistryError("this registry has no backbone yet: set_backbone comes before the first task")
    return known


def check_same_backbone(backbone: BackboneRecord, words: Mapping[str, Any]) -> None:
    """Refuse an adapter whose header says that it belongs to another backbone."""
    other = words.get("backbone")
    fingerprint = other.get("fingerprint") if isinstance(other, Mapping) else None
    if fingerprint is not None and fingerprint != backbone.fingerprint:
        raise RegistryError(
            f"this adapter was learned on another backbone ({fingerprint}) than the registry's, {backbone.name} "
            f"({backbone.fingerprint}): learn it on that one, or keep it in a registry of its own"
        )


def next_instant(asking: Asking) -> datetime:
    """Now, but after every version so far: a clock set back must not change the order of learning."""
    now = datetime.now(UTC)
    for (last,) in asking.ask("SELECT CAST(created AS TEXT) FROM versions ORDER BY id DESC LIMIT 1"):
        return max(now, instant(last) + timedelta(microseconds=1))
    return now


def find(writing: Writing, name: str) -> "TaskRow | None":
    """The task of that name, to be changed."""
    from sqlalchemy import select

    from registry.models import TaskRow

    return writing.session.scalar(select(TaskRow).where(TaskRow.key == names.key(name)))


def require(writing: Writing, name: str) -> "TaskRow":
    """As `find`, or TaskNotFoundError."""
    row = find(writing, name)
    if row is None:
        raise missing(writing, name)
    return row


def version_values(manifest: Manifest, task_id: int, sha256: str, size: int) -> dict[str, Any]:
    """The columns of a version, but for its id."""
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
    """A moment as the databases write it, which is in UTC."""
    return datetime.fromisoformat(f"{text}+00:00")


def _records(found: Rows) -> Iterator[tuple[VersionRecord, int, str]]:
    """Yield each version, with its task's id and when that was made."""
    parsed: dict[str, Any] = {}  # many versions share their JSON, and parsing it takes most of the time
    for id, name, number, sha256, size, created, task_id, task_created, *facts in found:
        for place in _JSON_PLACES:
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
