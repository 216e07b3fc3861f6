"""Reads rows of the database as records; queries that several parts of the registry need.

Times and JSON are selected as text, which both databases then write alike. A row that cannot be right is left out of
every list (`row_checks`), and `problems` says what is wrong with it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cl_ast.errors import RegistryError, TaskNotFoundError
from registry import names, row_checks, shared_parts
from registry.database import Reader, Rows, Writer
from registry.manifest import Manifest
from registry.records import BackboneRecord, TaskRecord, VersionRecord
from registry.version_facts import RULES

if TYPE_CHECKING:
    from registry.models import BackboneRow, TaskRow

ONE_ROW = 1
"""The id of the row in a table that has one."""

_FACTS = ", ".join(f"CAST(v.{name} AS TEXT)" if rule.json else f"v.{name}" for name, rule in RULES.items())
_VERSIONS = f"""
    SELECT v.id, t.name, t.key, v.number, v.adapter_sha256, v.adapter_bytes, CAST(v.created AS TEXT), t.id,
        CAST(t.created AS TEXT), {_FACTS}
    FROM versions v JOIN tasks t ON v.task_id = t.id"""
_CURRENT = f"{_VERSIONS} AND v.id = t.current_version_id"
_IN_ORDER = " ORDER BY v.id"
_WITHOUT_CURRENT = """
    SELECT t.name FROM tasks t
    WHERE NOT EXISTS (SELECT 1 FROM versions v WHERE v.id = t.current_version_id AND v.task_id = t.id)"""
_FILES = "SELECT adapter_sha256 AS sha256 FROM versions UNION ALL SELECT sha256 FROM shared_parts"


def versions(reader: Reader, task_id: int | None = None) -> list[VersionRecord]:
    """Return every version of every task, or of one task, oldest first."""
    if task_id is None:
        found = reader.query(_VERSIONS + _IN_ORDER)
    else:
        found = reader.query(f"{_VERSIONS} WHERE t.id = ?{_IN_ORDER}", task_id)
    return [version for version, *_ in _records(found)]


def by_task(reader: Reader) -> list[tuple[int, VersionRecord]]:
    """Return every version of every task with the id of its task, oldest first."""
    return [(task_id, version) for version, task_id, _ in _records(reader.query(_VERSIONS + _IN_ORDER))]


def version(reader: Reader, version_id: int) -> VersionRecord | None:
    """Return the version of that id, or None where it was dropped."""
    return next((version for version, *_ in _records(reader.query(f"{_VERSIONS} WHERE v.id = ?", version_id))), None)


def tasks(reader: Reader) -> list[TaskRecord]:
    """Return every task, in the order in which the current versions were learned."""
    return list(_tasks(reader.query(_CURRENT + _IN_ORDER)))


def task(reader: Reader, name: str) -> TaskRecord:
    """Return the task of that name. Raises TaskNotFoundError."""
    key = names.key(name)
    for record in _tasks(reader.query(f"{_CURRENT} WHERE t.key = ?", key)):
        return record
    if any(True for _ in reader.query("SELECT id FROM tasks WHERE key = ?", key)):
        raise row_checks.unreadable(f'task "{name}"')
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
        if not (row_checks.is_id(task_id) and row_checks.is_id(version_id)):
            raise row_checks.unreadable(f'task "{name}"')
        return task_id, version_id
    raise missing(reader, name)


def count(reader: Reader) -> int:
    """Return how many tasks have a row, with those whose rows cannot be read."""
    return next(int(row[0]) for row in reader.query("SELECT count(*) FROM tasks"))


def all_files_named(reader: Reader) -> set[object]:
    """Return what the rows say is the SHA-256 of a version's or a shared part's file; unchecked, so it may be none."""
    return {sha256 for (sha256,) in reader.query(_FILES)}


def files_named(reader: Reader, hashes: Sequence[str]) -> set[str]:
    """Return those of at most some hundred SHA-256 that a row names as the file of a version or of a shared part."""
    marks = ", ".join("?" * len(hashes))
    sql = f"SELECT sha256 FROM ({_FILES}) AS named WHERE sha256 IN ({marks})"
    return {sha256 for (sha256,) in reader.query(sql, *hashes)} if hashes else set()


def problems(reader: Reader) -> list[str]:
    """Return what is wrong with the rows that every list leaves out, in words."""
    checker = row_checks.VersionReader()
    for row in reader.query(_VERSIONS + _IN_ORDER):
        checker.read(row)
    dangling = [f"task {name!r:.60} has no current version" for (name,) in reader.query(_WITHOUT_CURRENT)]
    shared_parts.listed(reader, checker.problems)
    return checker.problems + dangling


def missing(reader: Reader, name: str) -> TaskNotFoundError:
    """Return the error for a name that is not there, which says what the names are."""
    known = [row[0] for row in reader.query("SELECT name FROM tasks ORDER BY id") if row_checks.is_name(row[0])]
    return TaskNotFoundError(f'no task "{name}" in the registry; {names.suggestion(name, known)}')


def backbone(reader: Reader) -> BackboneRecord | None:
    """Return the registry's backbone, or None where it has none yet."""
    found = reader.query("SELECT name, fingerprint, parameters, bytes, background FROM backbone")
    for row in found:
        return row_checks.backbone(row)
    return None


def registry_id(reader: Reader) -> str | None:
    """Return which registry this is; None where it was never changed since registries have ids."""
    for (found,) in reader.query("SELECT registry_id FROM identity"):
        return row_checks.require_registry_id(found, "the database")
    return None


def require_backbone(reader: Reader) -> BackboneRecord:
    """Return the registry's backbone. Raises RegistryError where it has none yet."""
    known = backbone(reader)
    if known is None:
        raise RegistryError("this registry has no backbone yet: set_backbone comes before the first task")
    return known


def backbone_row(writer: Writer) -> "BackboneRow":
    """Return the row of the backbone, for changing it. Raises CorruptRegistryError where it has another id."""
    from registry.models import BackboneRow

    with row_checks.of_one_row():
        row = writer.session.get(BackboneRow, ONE_ROW)
    if row is None:
        raise row_checks.unreadable("the backbone of the registry")
    return row


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
        with row_checks.of_one_row():
            return max(now, row_checks.instant(last) + timedelta(microseconds=1))
    return now


def find(writer: Writer, name: str) -> "TaskRow | None":
    """Return the row of the task of that name, for changing it; None where there is none."""
    from sqlalchemy import select

    from registry.models import TaskRow

    with row_checks.of_one_row():
        row = writer.session.scalar(select(TaskRow).where(TaskRow.key == names.key(name)))
    if row is not None:
        task(writer, name)  # it raises an error for a row that cannot be right
        if not row_checks.is_id(row.last_number):
            raise row_checks.unreadable(f'task "{name}"')
    return row


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
        "backbone_id": ONE_ROW,
        "adapter_sha256": sha256,
        "adapter_bytes": size,
        "created": manifest.created,
        **manifest.new.to_json(),
    }


def _records(found: Rows) -> Iterator[tuple[VersionRecord, int, datetime]]:
    """Yield each version, with the id of its task and when that was made; rows that cannot be right are left out."""
    checker = row_checks.VersionReader()
    for row in found:
        record = checker.read(row)
        if record is not None:
            yield record


def _tasks(found: Rows) -> Iterator[TaskRecord]:
    for version, task_id, created in _records(found):
        yield TaskRecord(task_id, version.task, created, version)
