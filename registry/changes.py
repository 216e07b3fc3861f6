"""What changes tasks: commit, remove, rename, rollback.

The order of writing makes it safe to be killed at any moment. Adding: the file first, its row last.
Dropping: the row first, the file last. A crash in between leaves at most a file that nothing names, which
`gc` drops. Files are written while the database's write lock is held, so whoever holds it knows that no
file without a row is still to get one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from cl_ast.errors import CorruptRegistryError, RegistryError, TaskExistsError
from registry import header, history, names, rows
from registry.adapter_files import AdapterFiles, digest, name_of
from registry.database import Database
from registry.manifest import Manifest
from registry.records import Accuracy, TaskRecord, VersionRecord
from registry.version_facts import NewVersion


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
        own = header.check(adapter).description(required=False)
    except CorruptRegistryError as error:
        raise CorruptRegistryError(f'the adapter for "{name}" {error}') from error
    with _undone(files) as written, database.write() as writing:
        from registry.models import TaskRow, VersionRow

        session = writing.session
        backbone = rows.require_backbone(writing)
        rows.check_same_backbone(backbone, own)
        now = rows.next_instant(writing)
        task = rows.find(writing, name)
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
        manifest = Manifest(task.name, task.last_number, task.id, task.created, now, backbone, new)
        stamped = header.described(adapter, manifest.words())
        written.append(files.write(stamped))
        version = VersionRow(**rows.version_values(manifest, task.id, written[0], len(stamped)))
        session.add(version)
        session.flush()
        task.current_version_id = version.id
        session.flush()
        if measured:
            history.record(writing, measured, version.id)
        record = rows.task(writing, name)
        written.clear()
    return record


def remove(database: Database, files: AdapterFiles, name: str) -> None:
    """See `Registry.remove`."""
    with database.write() as writing:
        task = rows.require(writing, name)
        hashes = [version.adapter_sha256 for version in rows.versions(writing, task.id)]
        writing.session.delete(task)
    _drop(files, hashes)


def rename(database: Database, files: AdapterFiles, old: str, new: str) -> TaskRecord:
    """See `Registry.rename`."""
    names.checked(new)
    former: list[str] = []
    with _undone(files) as written, database.write() as writing:
        from registry.models import VersionRow

        task = rows.require(writing, old)
        taken = rows.find(writing, new)
        if taken is not None and taken.id != task.id:
            raise TaskExistsError(f'there is a task "{taken.name}" already: choose another name')
        # The moment makes the files differ from those of every name before, whose deletion may still be under way.
        words = {"name": new, "renamed": datetime.now(UTC).isoformat()}
        changed = [] if task.name == new else rows.versions(writing, task.id)
        task.name, task.key = new, names.key(new)
        for version in changed:
            data = files.read(version.adapter_sha256)
            if data is None or digest(data) != version.adapter_sha256:
                continue  # stays as damaged as it was, and `verify` says so
            stamped = header.described(data, words)
            former.append(version.adapter_sha256)
            written.append(files.write(stamped))
            row = writing.session.get_one(VersionRow, version.id)
            row.adapter_sha256, row.adapter_bytes = written[-1], len(stamped)
        record = rows.task(writing, new)
        written.clear()
    _drop(files, former)
    return record


def rollback(database: Database, files: AdapterFiles, name: str, version: int | None) -> VersionRecord:
    """See `Registry.rollback`."""
    with database.write() as writing:
        task = rows.require(writing, name)
        kept = {found.number: found for found in rows.versions(writing, task.id)}
        current = next(number for number, found in kept.items() if found.id == task.current_version_id)
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
            f"{files.address(version.adapter_sha256)}; put the file back from a copy, roll the task back or "
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
    files.delete(map(name_of, hashes))
