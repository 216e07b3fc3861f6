"""Checks a registry (`verify`) and drops what it does not need (`gc`). `rebuild_database` restores a lost database."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from cl_ast.errors import RegistryError
from registry import header, history, identity, row_checks, rows
from registry.adapter_files import AdapterFiles, digest, is_temporary, name_of
from registry.database import Database, Reader
from registry.manifest import Manifest
from registry.records import BackboneRecord, Dropped, GcReport, Problem, VersionRecord

READERS = 8


def verify(database: Database, files: AdapterFiles) -> list[Problem]:
    """Return every problem of the database and of the files; first whether both belong to the same registry."""
    problems, backbone, versions = _database_problems(database)
    with suppress(RegistryError), database.read() as reader:  # what it cannot read is reported already
        wrong = identity.problem(reader, database.place, files)
        if wrong is not None:
            problems.insert(0, Problem(None, *wrong))
    # Every byte is read from the store, never from the cache: a flipped bit changes neither the size nor the date of a
    # file. Threads help, because reading and hashing release Python's lock.
    with ThreadPoolExecutor(READERS) as pool:
        fingerprint = backbone.fingerprint if backbone else ""
        found = list(pool.map(lambda version: _wrong(files, version, fingerprint), versions))
    for version, what in zip(versions, found, strict=True):
        # A task that another process renamed or removed meanwhile is no problem.
        if what and _is_unchanged(database, version):
            problems.append(Problem(version.task, files.address(version.adapter_sha256), what))
    return problems


def _database_problems(database: Database) -> tuple[list[Problem], BackboneRecord | None, list[VersionRecord]]:
    """Return what is wrong with the database, and of what it says all that can be read."""
    found: list[str] = []
    backbone: BackboneRecord | None = None
    versions: list[VersionRecord] = []
    # Each part is looked at by itself, because the others may still be readable.
    with _reported(found):
        found += database.damage()
    with _reported(found), database.read() as reader:
        backbone = rows.backbone(reader)
    with _reported(found), database.read() as reader:
        found += rows.problems(reader)
        versions = rows.versions(reader)
    with _reported(found), database.read() as reader:
        found += history.problems(reader)
    return [Problem(None, database.place, what) for what in dict.fromkeys(found)], backbone, versions


@contextmanager
def _reported(found: list[str]) -> Iterator[None]:
    """Add the sentence of an error to `found` instead of raising it."""
    try:
        yield
    except RegistryError as error:
        found.append(str(error))


def gc(database: Database, files: AdapterFiles, *, dry_run: bool) -> GcReport:
    """Drop the rows of versions that are not current, then their files and those that no row names.

    A file is written inside the transaction that commits its row, wherever the store is. So inside another writing
    transaction every file without a row is a leftover, however young. Files that no registry wrote are left alone.
    """
    if dry_run and not database.writable:
        with database.read() as reader:
            return GcReport(tuple(_droppable(reader, files)), True)
    # A dry run waits for writers too, where this user may write: otherwise it would list the files they just wrote.
    with database.write() if dry_run else identity.changing(database, files) as writer:
        identity.agreed(writer, database.place, files)
        dropped = _droppable(writer, files)
        if not dry_run:
            from sqlalchemy import delete, select

            from registry.models import TaskRow, VersionRow

            current = select(TaskRow.current_version_id)
            writer.session.execute(delete(VersionRow).where(VersionRow.id.not_in(current)))
    if not dry_run:
        files.delete(file.name for file in dropped)
    return GcReport(tuple(dropped), dry_run)


def _droppable(reader: Reader, files: AdapterFiles) -> list[Dropped]:
    """Return the files that `gc` drops, and why. Raises CorruptRegistryError where the rows do not tell it for sure."""
    wrong = rows.problems(reader)
    if wrong:
        raise row_checks.unreadable(f"nothing was deleted: {len(wrong)} rows of the database")
    tasks = rows.tasks(reader)
    current = {task.version.id for task in tasks}
    needed = {name_of(task.version.adapter_sha256) for task in tasks}
    versions = {name_of(version.adapter_sha256): version for version in rows.versions(reader)}
    there = {file.name: file.bytes for file in files.own()}
    dropped = [
        Dropped(name, size, "an interrupted write" if is_temporary(name) else "nothing names it")
        for name, size in there.items()
        if name not in versions
    ]
    for name, version in versions.items():
        if version.id not in current and name not in needed:
            why = f'version {version.number} of task "{version.task}" is not the current one'
            dropped.append(Dropped(name, there.get(name, 0), why))
    return dropped


def _wrong(files: AdapterFiles, version: VersionRecord, fingerprint: str) -> str | None:
    """Return what is wrong with the file of a version; None where nothing is."""
    try:
        data = files.read_from_store(name_of(version.adapter_sha256))
        if data is None:
            return "the file is missing"
        if digest(data) != version.adapter_sha256:
            return "the file is not what was stored: its SHA-256 differs"
        manifest = Manifest.from_header(header.read(data).description(), version.created)
    except RegistryError as error:
        return str(error)
    if (manifest.name, manifest.number) != (version.task, version.number):
        return "the file says that it is another task or version"
    if manifest.backbone.fingerprint != fingerprint:
        return (
            f"the file says that it was made with another backbone, {manifest.backbone.name}; "
            "train the task again with `cl-ast add-task --replace`, or over another backbone with `cl-ast relearn`"
        )
    return None


def _is_unchanged(database: Database, version: VersionRecord) -> bool:
    """Return whether the version still has the same file, also where the database fails by now."""
    try:
        with database.read() as reader:
            now = rows.version(reader, version.id)
    except RegistryError:
        return True
    return now is not None and now.adapter_sha256 == version.adapter_sha256
