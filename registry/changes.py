"""Changes tasks: commit, remove, rename, rollback. `undoing` takes the last change back.

The order of writing makes it safe to be killed at any moment. A file is written before its row, and thrown away after
its row. A crash in between leaves at most a file that no row names. If the last change had dropped it, `gc` knows it
by that; the file of a commit that never came true is left where it is, as nobody knows whether it is needed.
Files are written only inside the database's writing transaction, so inside another one no row will come for them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace as replaced
from datetime import UTC, datetime

from cl_ast.errors import CorruptRegistryError, RegistryError, TaskExistsError
from registry import deltas, header, history, last_change, names, row_checks, rows, shared_parts
from registry.adapter_files import AdapterFiles, digest, name_of
from registry.database import Database, Writer
from registry.deltas import Delta
from registry.identity import changing
from registry.last_change import Undoing
from registry.manifest import Manifest
from registry.records import Accuracy, SharedPart, TaskRecord, VersionRecord
from registry.version_facts import NewVersion, check_new_labels

_AT_ONCE = 100  # files that are moved before others may write


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
    with _deleted_on_error(database, files) as written, changing(database, files) as writer:
        from registry.models import TaskRow, VersionRow

        session = writer.session
        backbone = rows.require_backbone(writer)
        rows.check_same_backbone(backbone, own)
        if new.shared is not None and shared_parts.of_file(writer, new.shared) is None:
            raise RegistryError(
                f"the shared part that the task reads ({new.shared[:12]}) is not in the registry any more: bring it "
                "back (`cl-ast undo`, where `gc` was the last change), and add the task again with --resume"
            )
        now = rows.next_instant(writer)
        task = rows.find(writer, name)
        before = [] if task is None else deltas.rows(writer, "tasks", [task.id])
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
        added = {"tasks": [] if before else [task.id], "versions": [version.id], "measurements": list[int]()}
        if measured:
            added["measurements"].append(history.record(writer, measured, version.id))
        record = rows.task(writer, name)
        what = f"replaced task {task.name} by version {task.last_number}" if before else f"added task {task.name}"
        undoing = Undoing([], written[:], Delta({"tasks": before}, added))
        last_change.note(writer, "replace" if before else "add", what, undoing)
    return record


def share(
    database: Database, files: AdapterFiles, name: str, data: bytes, method: str, tasks: Sequence[str]
) -> SharedPart:
    """Do what `Registry.share` says."""
    names.checked(name)
    header.check(data)
    with _deleted_on_error(database, files) as written, changing(database, files) as writer:
        shared_parts.check_free(name, shared_parts.listed(writer))
        part = SharedPart(0, name, method, tuple(tasks), "", 0, datetime.now(UTC))
        described = shared_parts.described(data, part, rows.require_backbone(writer))
        part = replaced(part, sha256=digest(described), bytes=len(described))
        return _shared_added(writer, files, part, described, written)


def import_shared(database: Database, files: AdapterFiles, data: bytes) -> SharedPart:
    """Do what `Registry.import_shared` says."""
    try:
        words = header.check(data).description()
        part, _ = shared_parts.from_file(data, words)
    except CorruptRegistryError as error:
        raise CorruptRegistryError(f"the file of the shared part {error}") from error
    with _deleted_on_error(database, files) as written, changing(database, files) as writer:
        there = shared_parts.of_file(writer, part.sha256)
        if there is not None:
            return there
        rows.check_same_backbone(rows.require_backbone(writer), words)
        taken = [other.name for other in shared_parts.listed(writer)]
        part = replaced(part, name=shared_parts.free_name(part.name, part.sha256, taken))
        return _shared_added(writer, files, part, data, written)


def _shared_added(writer: Writer, files: AdapterFiles, part: SharedPart, data: bytes, written: list[str]) -> SharedPart:
    """Write the file of a shared part, then its row; return it with its id."""
    from registry.models import SharedPartRow

    written.append(files.write(data))
    row = SharedPartRow(**shared_parts.values(part))
    writer.session.add(row)
    writer.session.flush()
    undoing = Undoing([], written[:], Delta({}, {"shared_parts": [row.id]}))
    last_change.note(writer, "share", f"made the shared part {part.name}", undoing)
    return replaced(part, id=row.id)


def remove(database: Database, files: AdapterFiles, name: str) -> None:
    """Do what `Registry.remove` says."""
    with changing(database, files) as writer:
        task = rows.require(writer, name)
        hashes = [version.adapter_sha256 for version in rows.versions(writer, task.id)]
        drop = {"tasks": [task.id]}
        delta = last_change.captured(lambda: Delta(deltas.before_dropping(writer, drop)))
        writer.session.delete(task)
        last_change.note(writer, "remove", f"removed task {task.name}", Undoing(hashes, [], delta))
    throw_away(database, files, hashes)


def rename(database: Database, files: AdapterFiles, old: str, new: str) -> TaskRecord:
    """Do what `Registry.rename` says."""
    names.checked(new)
    former: list[str] = []
    with _deleted_on_error(database, files) as written, changing(database, files) as writer:
        from registry.models import VersionRow

        task = rows.require(writer, old)
        taken = rows.find(writer, new)
        if taken is not None and taken.id != task.id:
            raise TaskExistsError(f'there is a task "{taken.name}" already: choose another name')
        # The time makes the files differ from those that the task had before, which another rename may be deleting now.
        words = {"name": new, "renamed": datetime.now(UTC).isoformat()}
        changed = [] if task.name == new else rows.versions(writer, task.id)
        before, what = deltas.rows(writer, "tasks", [task.id]), f"renamed task {task.name} to {new}"
        known = last_change.captured(lambda: Delta({"versions": deltas.rows(writer, "versions", [task.id], "task_id")}))
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
        delta = known and Delta({"tasks": before, **known.put})
        last_change.note(writer, "rename", what, Undoing(former, written[:], delta))
    throw_away(database, files, former)
    return record


def rollback(database: Database, files: AdapterFiles, name: str, version: int | None) -> VersionRecord:
    """Do what `Registry.rollback` says."""
    with changing(database, files) as writer:
        task = rows.require(writer, name)
        kept = {found.number: found for found in rows.versions(writer, task.id)}
        current = next(number for number, found in kept.items() if found.id == task.current_version_id)
        wanted = version if version is not None else max((n for n in kept if n < current), default=0)
        if wanted not in kept:
            what = f"version {version}" if version is not None else f"version before {current}"
            raise RegistryError(f'task "{task.name}" has no {what}; it has {", ".join(map(str, sorted(kept)))}')
        intact(files, kept[wanted])
        before = Delta({"tasks": deltas.rows(writer, "tasks", [task.id])})
        what = f"rolled task {task.name} back to version {wanted}"
        last_change.note(writer, "rollback", what, Undoing([], [], before))
        task.current_version_id = kept[wanted].id
    return kept[wanted]


def intact(files: AdapterFiles, version: VersionRecord) -> bytes:
    """Return the bytes of a version's file. Raises CorruptRegistryError where it is missing or damaged."""
    return files.intact(
        version.adapter_sha256,
        f'the adapter of task "{version.task}" (version {version.number})',
        ", roll the task back or learn it again; no other task is affected",
    )


@contextmanager
def _deleted_on_error(database: Database, files: AdapterFiles) -> Iterator[list[str]]:
    """Give a list of files, which are deleted if an error comes.

    After an error of the commit itself only the database knows whether the rows are there. Where it cannot be asked,
    the files stay: one without a row does no harm.
    """
    written: list[str] = []
    try:
        yield written
    except BaseException:
        _unless_named(database, written, lambda some: files.delete(map(name_of, some)))
        raise


def throw_away(database: Database, files: AdapterFiles, hashes: Sequence[str]) -> None:
    """Move files to the trash, but for those that a row names again: somebody may have taken the change back already.

    What fails here is left for `gc`, as after a crash: the change itself is done.
    """
    _unless_named(database, hashes, files.discard)


def _unless_named(database: Database, hashes: Sequence[str], act: Callable[[list[str]], None]) -> None:
    """Do something with the files that no row names, while nobody else writes."""
    for start in range(0, len(hashes), _AT_ONCE):  # others may write in between
        some = hashes[start : start + _AT_ONCE]
        with suppress(RegistryError), database.write() as writer:
            named = rows.files_named(writer, some)
            act([sha256 for sha256 in some if sha256 not in named])
