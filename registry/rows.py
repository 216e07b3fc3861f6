"""Questions that several parts ask the database, and its rows as records."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from cl_ast.errors import RegistryError, TaskNotFoundError
from registry import names
from registry.manifest import Manifest
from registry.models import BackboneRow, TaskRow, VersionRow
from registry.records import BackboneRecord, TaskRecord, VersionRecord

BACKBONE_ID = 1

# Columns, not mapped objects: listing thousands of tasks then costs a third.
_COLUMNS = (*VersionRow.__table__.c, TaskRow.name.label("task"), TaskRow.created.label("task_created"))


def versions() -> Select[Any]:
    """Every version of every task, oldest first."""
    return select(*_COLUMNS).join(TaskRow, VersionRow.task_id == TaskRow.id).order_by(VersionRow.id)


def current_versions() -> Select[Any]:
    """The version that answers for each task, in the order in which these versions were learned."""
    return versions().where(VersionRow.id == TaskRow.current_version_id)


def current_hashes() -> Select[Any]:
    """The files that answer now."""
    joined = select(VersionRow.adapter_sha256).join(TaskRow, VersionRow.id == TaskRow.current_version_id)
    return joined.order_by(VersionRow.id)


def version_record(row: Row[Any]) -> VersionRecord:
    return VersionRecord(
        id=row.id,
        task=row.task,
        number=row.number,
        method=row.method,
        adapter_sha256=row.adapter_sha256,
        adapter_bytes=row.adapter_bytes,
        classes=len(row.labels),
        trainable_parameters=row.trainable_parameters,
        learned_accuracy=row.learned_accuracy,
        seed=row.seed,
        seconds=row.seconds,
        source=row.source,
        data_fingerprint=row.data_fingerprint,
        protocol=row.protocol,
        packages=row.packages,
        created=row.created,
    )


def task_record(row: Row[Any]) -> TaskRecord:
    return TaskRecord(
        id=row.task_id,
        name=row.task,
        created=row.task_created,
        labels=tuple(row.labels),
        version=version_record(row),
    )


def tasks(session: Session) -> list[TaskRecord]:
    return [task_record(row) for row in session.execute(current_versions())]


def task(session: Session, task_id: int) -> TaskRecord:
    return task_record(session.execute(current_versions().where(TaskRow.id == task_id)).one())


def current(session: Session, wanted: Iterable[str]) -> dict[str, VersionRecord]:
    """The version that answers for each of those names, by the name that was given; who is not there is left out."""
    keys = {names.key(name): name for name in wanted}
    found = session.execute(current_versions().where(TaskRow.key.in_(keys)))
    return {keys[names.key(row.task)]: version_record(row) for row in found}


def find(session: Session, name: str) -> TaskRow | None:
    return session.scalar(select(TaskRow).where(TaskRow.key == names.key(name)))


def require(session: Session, name: str) -> TaskRow:
    """The task of that name, or TaskNotFoundError with those there are."""
    row = find(session, name)
    if row is None:
        known = session.scalars(select(TaskRow.name).order_by(TaskRow.id)).all()
        raise TaskNotFoundError(f'no task "{name}" in the registry: {names.suggestion(name, known)}')
    return row


def backbone(session: Session) -> BackboneRecord | None:
    row = session.get(BackboneRow, BACKBONE_ID)
    if row is None:
        return None
    return BackboneRecord(row.name, row.fingerprint, row.parameters, row.bytes, row.background)


def require_backbone(session: Session) -> BackboneRecord:
    trunk = backbone(session)
    if trunk is None:
        raise RegistryError("this registry has no trunk yet: set_backbone comes before the first task")
    return trunk


def check_same_trunk(trunk: BackboneRecord, words: Mapping[str, Any]) -> None:
    """Refuse an adapter whose header says that it belongs to another trunk."""
    other = words.get("backbone")
    fingerprint = other.get("fingerprint") if isinstance(other, Mapping) else None
    if fingerprint is not None and fingerprint != trunk.fingerprint:
        raise RegistryError(
            f"this adapter was learned on another trunk ({fingerprint}) than the registry's, {trunk.name} "
            f"({trunk.fingerprint}): learn it on that one, or keep it in a registry of its own"
        )


def next_instant(session: Session) -> datetime:
    """Now, but after every version so far: a clock set back must not change the order of learning."""
    last = session.scalar(select(VersionRow.created).order_by(VersionRow.id.desc()).limit(1))
    now = datetime.now(UTC)
    return now if last is None else max(now, last + timedelta(microseconds=1))


def version_row(manifest: Manifest, task_id: int, sha256: str, size: int) -> VersionRow:
    new = manifest.new
    return VersionRow(
        task_id=task_id,
        number=manifest.number,
        backbone_id=BACKBONE_ID,
        method=new.method,
        labels=list(new.labels),
        adapter_sha256=sha256,
        adapter_bytes=size,
        trainable_parameters=new.trainable_parameters,
        learned_accuracy=new.learned_accuracy,
        seed=new.seed,
        seconds=new.seconds,
        source=dict(new.source),
        data_fingerprint=new.data_fingerprint,
        protocol=new.protocol,
        packages=dict(new.packages),
        created=manifest.created,
    )
