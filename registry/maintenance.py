"""What keeps a registry whole over the years: verify and gc. `restoring` has rebuild."""

from concurrent.futures import ThreadPoolExecutor

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import header, rows
from registry.adapter_files import AdapterFiles, digest, is_temporary, name_of
from registry.database import Asking, Database
from registry.manifest import Manifest
from registry.records import Dropped, GcReport, Problem, VersionRecord

READERS = 8


def verify(database: Database, files: AdapterFiles) -> list[Problem]:
    """Every file compared with its row, and the database with itself. Unnamed files are no problem."""
    try:
        problems = [Problem(None, database.place, what) for what in database.damage()]
        with database.read() as asking:
            backbone = rows.backbone(asking)
            versions = rows.versions(asking)
    except CorruptRegistryError as error:
        return [Problem(None, database.place, str(error))]
    # Every byte is read where it is stored: a flipped bit changes neither a file's size nor its date, so no cache could
    # stand for it. Reading and hashing leave Python, so threads help.
    with ThreadPoolExecutor(READERS) as pool:
        fingerprint = backbone.fingerprint if backbone else ""
        found = list(pool.map(lambda version: _wrong(files, version, fingerprint), versions))
    for version, what in zip(versions, found, strict=True):
        # A task that was renamed or removed while this ran is looked up again, not reported.
        if what and _still(database, version):
            problems.append(Problem(version.task, files.address(version.adapter_sha256), what))
    return problems


def gc(database: Database, files: AdapterFiles, *, dry_run: bool) -> GcReport:
    """Rows of versions that are not current, then their files, and files that nothing names.

    Whoever writes a file holds the write lock until its row is committed, wherever the store is. So under that lock
    every file of ours without a row is a leftover, however young, and needs no time of grace. Files that are not ours
    are left alone.
    """
    if dry_run and not database.writable:
        with database.read() as asking:
            return GcReport(tuple(_droppable(asking, files)), True)
    # A dry run takes the lock too, where it may: else it would see the files of writers at work.
    with database.write() as writing:
        dropped = _droppable(writing, files)
        if not dry_run:
            from sqlalchemy import delete, select

            from registry.models import TaskRow, VersionRow

            current = select(TaskRow.current_version_id)
            writing.session.execute(delete(VersionRow).where(VersionRow.id.not_in(current)))
    if not dry_run:
        files.delete(file.name for file in dropped)
    return GcReport(tuple(dropped), dry_run)


def _droppable(asking: Asking, files: AdapterFiles) -> list[Dropped]:
    current = {task.version.id for task in rows.tasks(asking)}
    versions = {name_of(version.adapter_sha256): version for version in rows.versions(asking)}
    there = {file.name: file.bytes for file in files.ours()}
    dropped = [
        Dropped(name, size, "an interrupted write" if is_temporary(name) else "nothing names it")
        for name, size in there.items()
        if name not in versions
    ]
    for name, version in versions.items():
        if version.id not in current:
            why = f'version {version.number} of task "{version.task}" is not the current one'
            dropped.append(Dropped(name, there.get(name, 0), why))
    return dropped


def _wrong(files: AdapterFiles, version: VersionRecord, fingerprint: str) -> str | None:
    try:
        data = files.stored(name_of(version.adapter_sha256))
        if data is None:
            return "the file is missing"
        if digest(data) != version.adapter_sha256:
            return "the file is not what was stored: its SHA-256 differs"
        manifest = Manifest.read(header.read(data).description(), version.created)
    except RegistryError as error:
        return str(error)
    same = (manifest.name, manifest.number, manifest.backbone.fingerprint)
    if same != (version.task, version.number, fingerprint):
        return "the file says that it is another task, version or backbone"
    return None


def _still(database: Database, version: VersionRecord) -> bool:
    with database.read() as asking:
        now = rows.version(asking, version.id)
    return now is not None and now.adapter_sha256 == version.adapter_sha256
