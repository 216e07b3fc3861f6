"""Changes tasks: commit, remove, rename, rollback.

The order of writing makes it safe to be killed at any moment. A file is written before its row, and deleted after its
row. A crash in between leaves at most a file that no row names, which `gc` drops. Files are written only inside the
database's writing transaction, so inside another one every file without a row is a leftover: no row will come for it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from cl_ast.errors import CorruptRegistryError, RegistryError, TaskExistsError
from registry import header, history, names, row_checks, rows
from registry.adapter_files import AdapterFiles, digest, name_of
from registry.database import Database
from registry.manifest import Manifest
from registry.records import Accuracy, TaskRecord, VersionRecord
from registry.version_facts import NewVersion, check_new_labels


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
    """Do what `Registry.commit` says."""
    names.checked_stored(name)
    try:
        own = header.check(adapter).description(required=False)
    except CorruptRegistryError as error:
        raise CorruptRegistryError(f'the adapter for "{name}" {error}') from error
    with _deleted_on_error(files) as written, database.write() as writer:
        from registry.models import TaskRow, VersionRow

        session = writer.session
        backbone = rows.require_backbone(writer)
        rows.check_same_backbone(backbone, own)
        now = rows.next_instant(writer)
        task = rows.find(writer, name)
        check_new_labels(new.labels, known=() if task is None else rows.task(writer, name).labels)
        if task is None:
            names.checked(name)
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
        data = header.described(adapter, manifest.to_header())
        written.append(files.write(data))
        version = VersionRow(**rows.version_values(manifest, task.id, written[0], len(data)))
        session.add(version)
        session.flush()
        task.current_version_id = version.id
        session.flush()
        if measured:
            history.record(writer, measured, version.id)
        record = rows.task(writer, name)
        written.clear()
    return record


def remove(database: Database, files: AdapterFiles, name: str) -> None:
    """Do what `Registry.remove` says."""
    with database.write() as writer:
        task = rows.require(writer, name)
        hashes = [version.adapter_sha256 for version in rows.versions(writer, task.id)]
        writer.session.delete(task)
    _delete(files, hashes)


def rename(database: Database, files: AdapterFiles, old: str, new: str) -> TaskRecord:
    """Do what `Registry.rename` says."""
    names.checked(new)
    former: list[str] = []
    with _deleted_on_error(files) as written, database.write() as writer:
        from registry.models import VersionRow

        task = rows.require(writer, old)
        taken = rows.find(writer, new)
        if taken is not None and taken.id != task.id:
            raise TaskExistsError(f'there is a task "{taken.name}" already: choose another name')
        # The time makes the files differ from those that the task had before, which another rename may be deleting now.
        words = {"name": new, "renamed": datetime.now(UTC).isoformat()}
        changed = [] if task.name == new else rows.versions(writer, task.id)
        task.name, task.key = new, names.key(new)
        for version in changed:
            data = files.read(version.adapter_sha256)
            if data is None or digest(data) != version.adapter_sha256:
                continue  # the damaged file stays as it was, and `verify` reports it
            renamed = header.described(data, words)
            former.append(version.adapter_sha256)
            written.append(files.write(renamed))
            with row_checks.of_one_row():
                row = writer.session.get_one(VersionRow, version.id)
            row.adapter_sha256, row.adapter_bytes = written[-1], len(renamed)
        record = rows.task(writer, new)
        written.clear()
    _delete(files, former)
    return record


def rollback(database: Database, files: AdapterFiles, name: str, version: int | None) -> VersionRecord:
    """Do what `Registry.rollback` says."""
    with database.write() as writer:
        task = rows.require(writer, name)
        kept = {found.number: found for found in rows.versions(writer, task.id)}
        current = next(number for number, found in kept.items() if found.id == task.current_version_id)
        wanted = version if version is not None else max((n for n in kept if n < current), default=0)
        if wanted not in kept:
            what = f"version {version}" if version is not None else f"version before {current}"
            raise RegistryError(f'task "{task.name}" has no {what}; it has {", ".join(map(str, sorted(kept)))}')
        intact(files, kept[wanted])
        task.current_version_id = kept[wanted].id
    return kept[wanted]


def intact(files: AdapterFiles, version: VersionRecord) -> bytes:
    """Return the bytes of a version's file. Raises CorruptRegistryError where it is missing or damaged."""
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
def _deleted_on_error(files: AdapterFiles) -> Iterator[list[str]]:
    """Give a list of files, which are deleted if an error comes while they are on it.

    The caller empties it before the database commits: after an error of the commit itself nobody knows whether the
    rows are there, and a file without a row does no harm.
    """
    written: list[str] = []
    try:
        yield written
    except BaseException:
        _delete(files, written)
        raise


def _delete(files: AdapterFiles, hashes: Sequence[str]) -> None:
    """Delete files that no row names. No row will name them again, since each file describes its own version."""
    files.delete(map(name_of, hashes))
