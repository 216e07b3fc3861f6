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

if TYPE_CHECKING:
    from registry.models import TaskRow

BACKBONE_ID = 1

_VERSIONS = """
    SELECT v.id, t.name, v.number, v.method, v.adapter_sha256, v.adapter_bytes, v.trainable_parameters,
        v.learned_accuracy, v.seed, v.seconds, v.data_fingerprint, v.protocol, CAST(v.labels AS TEXT),
        CAST(v.source AS TEXT), CAST(v.packages AS TEXT), CAST(v.created AS TEXT), t.id, CAST(t.created AS TEXT)
    FROM versions v JOIN tasks t ON v.task_id = t.id"""
_CURRENT = f"{_VERSIONS} AND v.id = t.current_version_id"
_IN_ORDER = " ORDER BY v.id"


def versions(asking: Asking, task_id: int | None = None) -> list[VersionRecord]:
    """Every version of every task, or of one, oldest first."""
    if task_id is None:
        found = asking.ask(_VERSIONS + _IN_ORDER)
    else:
        found = asking.ask(f"{_VERSIONS} WHERE t.id = ?{_IN_ORDER}", task_id)
    return [version for version, _ in _records(found)]


def version(asking: Asking, version_id: int) -> VersionRecord | None:
    return next((version for version, _ in _records(asking.ask(f"{_VERSIONS} WHERE v.id = ?", version_id))), None)


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
    new = manifest.new
    return {
        "task_id": task_id,
        "number": manifest.number,
        "backbone_id": BACKBONE_ID,
        "method": new.method,
        "labels": list(new.labels),
        "adapter_sha256": sha256,
        "adapter_bytes": size,
        "trainable_parameters": new.trainable_parameters,
        "learned_accuracy": new.learned_accuracy,
        "seed": new.seed,
        "seconds": new.seconds,
        "source": dict(new.source),
        "data_fingerprint": new.data_fingerprint,
        "protocol": new.protocol,
        "packages": dict(new.packages),
        "created": manifest.created,
    }


def instant(text: str) -> datetime:
    """A moment as the databases write it, which is in UTC."""
    return datetime.fromisoformat(f"{text}+00:00")


def _records(found: Rows) -> Iterator[tuple[VersionRecord, tuple[Any, ...]]]:
    """Each version, with its labels, its task's id and when that was made."""
    packages: dict[str, Any] = {}  # most versions have the same, and reading JSON is most of the time
    for row in found:
        *columns, data, protocol, labels, source, installed, created, task_id, task_created = row
        id, name, number, method, sha256, size, parameters, learned, seed, seconds = columns
        if installed not in packages:
            packages[installed] = json.loads(installed)
        classes = json.loads(labels)
        record = VersionRecord(
            id=id,
            task=name,
            number=number,
            method=method,
            adapter_sha256=sha256,
            adapter_bytes=size,
            classes=len(classes),
            trainable_parameters=parameters,
            learned_accuracy=learned,
            seed=seed,
            seconds=seconds,
            source=json.loads(source),
            data_fingerprint=data,
            protocol=protocol,
            packages=packages[installed],
            created=instant(created),
        )
        yield record, (tuple(classes), task_id, task_created)


def _tasks(found: Rows) -> Iterator[TaskRecord]:
    for version, (labels, task_id, created) in _records(found):
        yield TaskRecord(task_id, version.task, instant(created), labels, version)
