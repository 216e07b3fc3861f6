"""What changes tasks: commit, remove, rename, rollback.

The order of writing makes it safe to be killed at any moment. Adding: the file first, its row last.
Dropping: the row first, the file last. A crash in between leaves at most a file that nothing names, which
`gc` drops. Files are written while the database's write lock is held, so whoever holds it knows that no
file without a row is still to get one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import delete, select

from cl_ast.errors import CorruptRegistryError, RegistryError, TaskExistsError
from registry import header, history, names, rows
from registry.database import Database
from registry.files import AdapterFiles, digest
from registry.manifest import Manifest
from registry.models import TaskRow, VersionRow
from registry.records import Accuracy, NewVersion, TaskRecord, VersionRecord


def commit(
    database: Database,
    files: AdapterFiles,
    name: str,
    adapter: bytes,
    new: NewVersion,
    measured: Sequence[Accuracy],
    *,
    replace: bool,
) -> TaskRecord:
    """See `Registry.commit`."""
    names.checked(name)
    try:
        own = header.check(adapter)
    except CorruptRegistryError as error:
        raise CorruptRegistryError(f'the adapter for "{name}" {error}') from error
    with _undone(files) as written, database.write() as session:
        trunk = rows.require_backbone(session)
        rows.check_same_trunk(trunk, own)
        now = rows.next_instant(session)
        task = rows.find(session, name)
        if task is None:
            task = TaskRow(name=name, key=names.key(name), created=now, last_number=1, current_version_id=0)
            session.add(task)
        elif replace:
            task.last_number += 1
        else:
            raise TaskExistsError(
                f'there is a task "{task.name}" already: choose another name, or replace it on purpose'
            )
        session.flush()
        manifest = Manifest(task.name, task.last_number, task.id, task.created, now, trunk, new)
        stamped = header.stamped(adapter, manifest.words())
        written.append(files.write(stamped))
        version = rows.version_row(manifest, task.id, written[0], len(stamped))
        session.add(version)
        session.flush()
        task.current_version_id = version.id
        session.flush()
        if measured:
            history.record(session, measured, version.id)
        record = rows.task(session, task.id)
        written.clear()
    return record


def remove(database: Database, files: AdapterFiles, name: str) -> None:
    """See `Registry.remove`."""
    with database.write() as session:
        task_id = rows.require(session, name).id
        hashes = session.scalars(select(VersionRow.adapter_sha256).where(VersionRow.task_id == task_id)).all()
        session.execute(delete(TaskRow).where(TaskRow.id == task_id))
    _drop(files, hashes)


def rename(database: Database, files: AdapterFiles, old: str, new: str) -> TaskRecord:
    """See `Registry.rename`."""
    names.checked(new)
    former: list[str] = []
    with _undone(files) as written, database.write() as session:
        task = rows.require(session, old)
        taken = rows.find(session, new)
        if taken is not None and taken.id != task.id:
            raise TaskExistsError(f'there is a task "{taken.name}" already: choose another name')
        task.name, task.key = new, names.key(new)
        for version in session.scalars(select(VersionRow).where(VersionRow.task_id == task.id)).all():
            data = files.read(version.adapter_sha256)
            if data is None or digest(data) != version.adapter_sha256:
                continue  # stays as damaged as it was, and `verify` says so
            stamped = header.stamped(data, {"name": new})
            if stamped != data:
                former.append(version.adapter_sha256)
                written.append(files.write(stamped))
                version.adapter_sha256, version.adapter_bytes = written[-1], len(stamped)
        session.flush()
        record = rows.task(session, task.id)
        written.clear()
    _drop(files, former)
    return record


def rollback(database: Database, files: AdapterFiles, name: str, version: int | None) -> VersionRecord:
    """See `Registry.rollback`."""
    with database.write() as session:
        task = rows.require(session, name)
        found = session.execute(rows.versions().where(VersionRow.task_id == task.id)).all()
        kept = {row.number: rows.version_record(row) for row in found}
        current = next(row.number for row in found if row.id == task.current_version_id)
        wanted = version if version is not None else max((n for n in kept if n < current), default=0)
        if wanted not in kept:
            what = f"version {version}" if version is not None else f"version before {current}"
            raise RegistryError(f'task "{task.name}" has no {what}; it has {", ".join(map(str, sorted(kept)))}')
        intact(files, kept[wanted])
        task.current_version_id = kept[wanted].id
    return kept[wanted]


def intact(files: AdapterFiles, version: VersionRecord) -> bytes:
    """The bytes of a version's file, or CorruptRegistryError."""
    data = files.read(version.adapter_sha256)
    if data is None or digest(data) != version.adapter_sha256:
        state = "is missing" if data is None else "is not what was stored"
        raise CorruptRegistryError(
            f'the adapter of task "{version.task}" (version {version.number}) {state}: '
            f"{files.path(version.adapter_sha256)}; put the file back from a copy, roll the task back or "
            "learn it again; no other task is affected"
        )
    return data


@contextmanager
def _undone(files: AdapterFiles) -> Iterator[list[str]]:
    """A list of files to delete should an error come before the database is told to commit.

    Empty it then: whether an error of the commit itself left the rows is not known, and a file too many
    does no harm.
    """
    written: list[str] = []
    try:
        yield written
    except BaseException:
        _drop(files, written)
        raise


def _drop(files: AdapterFiles, hashes: Sequence[str]) -> None:
    """Delete files that no row names. None will be named again: each is stamped with its own version."""
    for sha256 in hashes:
        files.delete(files.path(sha256))
