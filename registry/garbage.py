"""Drops what a registry does not need (`gc`), and says what of its files the database does not know."""

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from cl_ast.errors import RegistryError
from cl_ast.wording import plural
from registry import changes, deltas, header, identity, last_change, names, row_checks, rows, shared_parts, trash
from registry.adapter_files import AdapterFiles, digest, is_temporary, name_of
from registry.database import Database, Reader, Writer
from registry.deltas import Delta
from registry.file_stores import Stored
from registry.last_change import Undoing
from registry.manifest import Manifest
from registry.records import Dropped, GcReport, SharedPart, Unnamed, VersionRecord

_PREFIX = re.compile(r"[0-9a-f]{12,64}")


class _Plan(NamedTuple):
    """What `gc` is to do.

    Attributes:
        trash: files to move to the trash.
        delete: interrupted writes, to delete.
        unnamed: adapters that the database does not know, to leave where they are.
        versions: the versions that are not current.
        shared: the shared parts that no current version reads.
    """

    trash: Sequence[Dropped]
    delete: Sequence[Dropped]
    unnamed: Sequence[Unnamed]
    versions: Sequence[VersionRecord]
    shared: Sequence[SharedPart] = ()


def gc(
    database: Database, files: AdapterFiles, *, dry_run: bool, empty_trash: bool, wanted: Collection[str]
) -> GcReport:
    """Do what `Registry.gc` says.

    A file is written inside the transaction that commits its row, wherever the store is. So inside another writing
    transaction no row will come for a file that has none, however young.
    """
    if dry_run and not database.writable:
        with database.read() as reader:
            identity.agreed(reader, database.place, files)
            return _report(_plan(reader, files, wanted), _over(files, empty_trash), dry_run=True)
    # A dry run waits for writers too, where this user may write: otherwise it would list the files they just wrote.
    with database.write() if dry_run else identity.changing(database, files) as writer:
        if dry_run:  # else `changing` has done so
            identity.agreed(writer, database.place, files)
        plan, over = _plan(writer, files, wanted), _over(files, empty_trash)
        undoable = dry_run or _dropped(writer, plan, wanted)
    if not dry_run:
        changes.throw_away(database, files, [file.name[:64] for file in plan.trash])
        files.delete(file.name for file in plan.delete)
        trash.delete(files.store, [file.name for file in over])
    return _report(plan, over, dry_run=dry_run, undoable=undoable)


def unnamed(database: Database, files: AdapterFiles) -> list[Unnamed]:
    """Return the adapters that the database does not know, as no writer is at work."""
    with database.read() as reader:
        known = {name_of(version.adapter_sha256) for version in rows.versions(reader)} | _shared_files(reader)
        dropped = {name_of(sha256) for sha256 in last_change.dropped_files(reader)}
    if all(file.name in known | dropped or is_temporary(file.name) for file in files.own()):
        return []
    # Looked at again with the lock: it may be the file of a commit that is under way.
    with database.write() if database.writable else database.read() as reader:
        return list(_plan(reader, files, ()).unnamed)


def _plan(reader: Reader, files: AdapterFiles, wanted: Collection[str]) -> _Plan:
    """Return what is to be done. Raises CorruptRegistryError where the rows do not tell it for sure."""
    wrong = rows.problems(reader)
    if wrong:
        raise row_checks.unreadable(f"nothing was deleted: {len(wrong)} rows of the database")
    versions = {name_of(version.adapter_sha256): version for version in rows.versions(reader)}
    own = files.own()
    there = {file.name: file.bytes for file in own}
    known = versions.keys() | _shared_files(reader)
    strange = [file for file in own if file.name not in known and not is_temporary(file.name)]
    leftovers, unknown = _sorted_out(reader, files, strange, versions.values())
    if wanted:
        return _Plan(_named(unknown, wanted), [], [], [])
    tasks = rows.tasks(reader)
    current, read = {task.version.id for task in tasks}, {task.version.shared for task in tasks}
    former = {name: version for name, version in versions.items() if version.id not in current}
    old = [
        Dropped(name, there.get(name, 0), f'version {one.number} of task "{one.task}" is not the current one')
        for name, one in former.items()
    ]
    shared = [part for part in shared_parts.listed(reader) if part.sha256 not in read]
    old += [
        Dropped(name_of(part.sha256), part.bytes, f'no current version reads the shared part "{part.name}"')
        for part in shared
    ]
    interrupted = [Dropped(file.name, file.bytes, "an interrupted write") for file in own if is_temporary(file.name)]
    return _Plan([*leftovers, *old], interrupted, unknown, list(former.values()), shared)


def _shared_files(reader: Reader) -> set[str]:
    """Return the names of the files of all shared parts."""
    return {name_of(part.sha256) for part in shared_parts.listed(reader)}


def _sorted_out(
    reader: Reader, files: AdapterFiles, strange: Sequence[Stored], versions: Collection[VersionRecord]
) -> tuple[list[Dropped], list[Unnamed]]:
    """Return the files without a row that nobody needs, and those that somebody may need."""
    dropped = last_change.dropped_files(reader) if strange else frozenset()
    places = {(id, one.number): one for id, one in rows.by_task(reader)} if strange else {}
    leftovers, unknown = list[Dropped](), list[Unnamed]()
    for file in strange:
        if file.name[:64] in dropped:
            leftovers.append(Dropped(file.name, file.bytes, "the last change dropped it"))
            continue
        data = files.read_from_store(file.name)
        if data is None:
            continue  # somebody has taken it away
        if name_of(digest(data)) != file.name:
            leftovers.append(Dropped(file.name, file.bytes, "it is damaged, and nothing names it"))
            continue
        manifest, shared = _described(data)
        known = manifest and places.get((manifest.task_id or 0, manifest.number))
        # The same version in another file, as a rename writes it: both were committed at one moment.
        if manifest and known and known.created == manifest.created:
            what = f'version {known.number} of task "{known.task}"'
            leftovers.append(Dropped(file.name, file.bytes, f"{what} is in another file by now"))
        else:
            task, number = (manifest.name, manifest.number) if manifest else (None, None)
            unknown.append(Unnamed(file.name, file.bytes, task, number, shared))
    return leftovers, unknown


def _described(data: bytes) -> tuple[Manifest | None, str | None]:
    """Return what a file says of its version, and the name of its shared part; None where `rebuild` could not use it.

    A file is one of the two.
    """
    try:
        words = header.read(data).description()
        if shared_parts.is_one(words):
            return None, shared_parts.from_file(data, words)[0].name
        found = Manifest.from_header(words, datetime.fromtimestamp(0, UTC))
    except RegistryError:
        return None, None
    return (found if max(found.number, found.task_id or 0) <= row_checks.MOST_CLAIMED_ID else None), None


def _named(unknown: Sequence[Unnamed], wanted: Collection[str]) -> list[Dropped]:
    """Return the adapters without a row that these names or hashes mean. Raises RegistryError for one without any."""
    found: dict[str, Dropped] = {}
    for word in wanted:
        meant = [
            one
            for one in unknown
            if (one.task is not None and names.key(one.task) == names.key(word))
            or (_PREFIX.fullmatch(word) and one.sha256.startswith(word))
        ]
        if not meant:
            raise RegistryError(
                f"no adapter that the database does not know is called {word}: `cl-ast gc` lists them, and "
                "`cl-ast remove` removes a task that it knows"
            )
        found |= {one.name: Dropped(one.name, one.bytes, f"it was named: {word}") for one in meant}
    return list(found.values())


def _dropped(writer: Writer, plan: _Plan, wanted: Collection[str]) -> bool:
    """Delete the rows of the versions, note the change, and return whether it can be taken back.

    Leftovers alone are no change of the tasks: the last one is still there to be taken back.
    """
    from sqlalchemy import delete, select

    from registry.models import SharedPartRow, TaskRow, VersionRow

    ids, shared = [version.id for version in plan.versions], [part.id for part in plan.shared]
    if not (ids or shared or wanted):
        return True
    drop = {"versions": ids, "shared_parts": shared}
    delta = last_change.captured(lambda: Delta(deltas.before_dropping(writer, drop)))
    if ids:
        writer.session.execute(delete(VersionRow).where(VersionRow.id.not_in(select(TaskRow.current_version_id))))
    if shared:
        writer.session.execute(delete(SharedPartRow).where(SharedPartRow.id.in_(shared)))
    former = {name_of(version.adapter_sha256) for version in plan.versions}
    former |= {name_of(part.sha256) for part in plan.shared}
    # A file that was missing before is missing when it is taken back, too.
    back = [file.name[:64] for file in plan.trash if file.bytes and (wanted or file.name in former)]
    what = f"gc dropped {plural(len(ids), 'former version')}"
    if shared:
        what += f" and {plural(len(shared), 'shared part')}"
    if wanted:
        what = f"gc dropped {plural(len(back), 'file')} of {', '.join(sorted(wanted))}"
    return last_change.note(writer, "gc", what, Undoing(back, [], delta))


def _over(files: AdapterFiles, everything: bool) -> list[Dropped]:
    """Return what is to be deleted from the trash: what was there for too long, or everything."""
    why = f"it has been in the trash since {{}}, for over {trash.DAYS} days"
    why = "it is in the trash since {}" if everything else why
    found = [file for file in trash.listed(files.store) if everything or file.expired]
    return [Dropped(file.name, file.bytes, why.format(file.day)) for file in found]


def _report(plan: _Plan, over: Sequence[Dropped], *, dry_run: bool, undoable: bool = True) -> GcReport:
    return GcReport((*plan.trash, *plan.delete), dry_run, tuple(plan.unnamed), tuple(over), undoable)
