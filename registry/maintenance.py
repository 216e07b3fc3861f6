"""What keeps a registry whole over the years: verify, gc, and rebuild."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import header, names, rebuilding, rows
from registry.database import Database, journal, shm, wal
from registry.files import AdapterFiles, digest, file_errors, size
from registry.manifest import Manifest
from registry.models import BackboneRow, TaskRow, VersionRow
from registry.records import Dropped, GcReport, Problem, RebuildReport, VersionRecord

_READERS = 4


def verify(database: Database, files: AdapterFiles) -> list[Problem]:
    """Every file compared with its row, and the database with itself. Unnamed files are no problem."""
    try:
        problems = [Problem(None, database.path, what) for what in database.damage()]
        with database.read() as session:
            trunk = rows.backbone(session)
            versions = [rows.version_record(row) for row in session.execute(rows.versions())]
    except CorruptRegistryError as error:
        return [Problem(None, database.path, str(error))]
    # Every byte is read: a flipped bit changes neither a file's size nor its date, so no cache could stand for it.
    # Reading and hashing leave Python, so threads help.
    with ThreadPoolExecutor(_READERS) as pool:
        fingerprint = trunk.fingerprint if trunk else ""
        found = list(pool.map(lambda version: _wrong(files, version, fingerprint), versions))
    for version, what in zip(versions, found, strict=True):
        # A task that was renamed or removed while this ran is looked up again, not reported.
        if what and _still(database, version):
            problems.append(Problem(version.task, files.path(version.adapter_sha256), what))
    return problems


def gc(database: Database, files: AdapterFiles, *, dry_run: bool) -> GcReport:
    """Rows of versions that are not current, then their files, and files that nothing names.

    Under the write lock every file of ours without a row is a leftover. Files that are not ours are left
    alone.
    """
    # A dry run takes the lock too, where it may: else it would see the files of writers at work.
    with database.write() if database.writable or not dry_run else database.read() as session:
        named = set(session.scalars(select(VersionRow.adapter_sha256)))
        dropped = [
            Dropped(path, size(path), _why(path))
            for path in files.ours()
            if path.stem not in named or path.suffix == ".tmp"
        ]
        old = session.execute(rows.versions().where(VersionRow.id != TaskRow.current_version_id)).all()
        for version in old:
            why = f'version {version.number} of task "{version.task}" is not the current one'
            path = files.path(version.adapter_sha256)
            dropped.append(Dropped(path, size(path), why))
        if not dry_run:
            current = select(TaskRow.current_version_id)
            session.execute(delete(VersionRow).where(VersionRow.id.not_in(current)))
    if not dry_run:
        for file in dropped:
            files.delete(file.path)
    return GcReport(tuple(dropped), dry_run)


class _Found(NamedTuple):
    """A readable adapter file."""

    path: Path
    sha256: str
    bytes: int
    written: float
    manifest: Manifest


def rebuild(path: Path, files: AdapterFiles) -> RebuildReport:
    """A new database from what the adapter files say of themselves; the former one is renamed, not deleted.

    Restored are the trunk, the tasks with their ids, every version that is still a file, and the order of
    learning. Of each task the newest version becomes the current one. What only the database knew is lost:
    measurements, a rollback, the trunk's `background`. Left out and reported: files that cannot be read, of
    another trunk than most, or that claim the place of a file written later.
    """
    readable, skipped = _readable(files)
    if not readable:
        raise RegistryError(f"no readable adapter in {files.folder} ({len(skipped)} damaged): nothing to restore from")
    chosen, left_out = _chosen(readable)
    fresh = path.with_name(f"{path.name}.rebuilding")
    with file_errors(path.parent, "rebuild the registry in"):
        for leftover in (journal(fresh), wal(fresh), shm(fresh), fresh):  # or SQLite would replay the first two
            leftover.unlink(missing_ok=True)
        database = Database.make(fresh)
        with database.write() as session:
            tasks = _restore(session, chosen)
        database.close()
    backup = rebuilding.put_in_place(path, fresh)
    return RebuildReport(tasks, len(chosen), (*skipped, *left_out), backup)


def _wrong(files: AdapterFiles, version: VersionRecord, fingerprint: str) -> str | None:
    try:
        data = files.read(version.adapter_sha256)
        if data is None:
            return "the file is missing"
        if digest(data) != version.adapter_sha256:
            return "the file is not what was stored: its SHA-256 differs"
        manifest = Manifest.read(header.described(data), version.created)
    except RegistryError as error:
        return str(error)
    same = (manifest.name, manifest.number, manifest.backbone.fingerprint)
    if same != (version.task, version.number, fingerprint):
        return "the file says that it is another task, version or trunk"
    return None


def _still(database: Database, version: VersionRecord) -> bool:
    same = (VersionRow.id == version.id, VersionRow.adapter_sha256 == version.adapter_sha256)
    with database.read() as session:
        return session.scalar(select(VersionRow.id).where(*same)) is not None


def _why(path: Path) -> str:
    return "an interrupted write" if path.suffix == ".tmp" else "nothing names it"


def _readable(files: AdapterFiles) -> tuple[list[_Found], list[Problem]]:
    found, problems = [], []
    for path in files.adapters():
        written = path.stat().st_mtime
        try:
            with file_errors(path, "read"):
                data = path.read_bytes()
            sha256 = digest(data)
            if path.stem != sha256:
                raise CorruptRegistryError("is damaged: its content does not have the SHA-256 in its name")
            manifest = Manifest.read(header.described(data), datetime.fromtimestamp(written, UTC))
            found.append(_Found(path, sha256, len(data), written, manifest))
        except RegistryError as error:
            problems.append(Problem(None, path, str(error)))
    return found, problems


def _chosen(found: list[_Found]) -> tuple[list[_Found], list[Problem]]:
    """One file a version, one task a name, one trunk; the newest file wins. In the order of learning."""
    prints = [file.manifest.backbone.fingerprint for file in found]
    most = max(sorted(set(prints)), key=prints.count)
    problems = []
    versions: dict[tuple[str, int], _Found] = {}
    # A name may have been free again, and a killed rename leaves one task under two names.
    task_of: dict[str, int | None] = {}
    name_of: dict[int, str] = {}
    for file in sorted(found, key=lambda file: (file.written, file.manifest.created, file.sha256), reverse=True):
        manifest = file.manifest
        name, id = names.key(manifest.name), manifest.task_id
        slot = (name, manifest.number)
        if manifest.backbone.fingerprint != most:
            problems.append(Problem(manifest.name, file.path, "was learned on another trunk than most"))
        elif slot in versions or task_of.get(name, id) != id or (id is not None and name_of.get(id, name) != name):
            problems.append(Problem(manifest.name, file.path, "a file written later has its place"))
        else:
            versions[slot] = file
            task_of[name] = id
            if id is not None:
                name_of[id] = name
    ordered = sorted(versions.values(), key=lambda file: (file.manifest.created, file.manifest.number, file.sha256))
    return ordered, problems


def _restore(session: Session, chosen: list[_Found]) -> int:
    """Rows for these files, in this order; returns how many tasks they make."""
    trunk = chosen[-1].manifest.backbone
    session.add(
        BackboneRow(
            id=rows.BACKBONE_ID,
            name=trunk.name,
            fingerprint=trunk.fingerprint,
            parameters=trunk.parameters,
            bytes=trunk.bytes,
            background=b"",
        )
    )
    tasks: dict[str, TaskRow] = {}
    # Tasks that know their id first: what SQLite then gives the others is higher.
    for file in sorted(chosen, key=lambda file: (file.manifest.task_id is None, file.manifest.task_id or 0)):
        manifest = file.manifest
        key = names.key(manifest.name)
        if key not in tasks:
            tasks[key] = TaskRow(
                id=manifest.task_id,
                name=manifest.name,
                key=key,
                created=manifest.task_created,
                last_number=0,
                current_version_id=-1 - len(tasks),
            )
            session.add(tasks[key])
            session.flush()
    for file in chosen:
        task = tasks[names.key(file.manifest.name)]
        version = rows.version_row(file.manifest, task.id, file.sha256, file.bytes)
        session.add(version)
        session.flush()
        if version.number > task.last_number:
            task.last_number, task.current_version_id = version.number, version.id
    return len(tasks)
