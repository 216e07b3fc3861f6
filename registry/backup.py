"""Makes a copy of a registry, in a folder that is a registry itself, while others may go on using the first.

The database is copied as it is at one moment, and then the files that it names, each after a look at its hash. A file
that a colleague removed meanwhile is in the trash. The copy gets its name when all of it is on the disk.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cl_ast.errors import RegistryError
from registry import rows, trash
from registry.adapter_files import AdapterFiles, digest, name_of
from registry.database import Database
from registry.errors import file_errors
from registry.file_stores import LocalFolder, sync_folder
from registry.locations import ADAPTERS, DATABASE
from registry.records import BackupReport, Problem, VersionRecord
from registry.sqlite_database import SqliteLocation


def backup(database: Database, files: AdapterFiles, destination: Path) -> BackupReport:
    """Do what `Registry.backup` says."""
    destination = _checked(destination, database, files)
    with _made_whole(destination) as folder:
        moment = datetime.now(UTC)
        database.copy_to(folder / DATABASE)
        copied = LocalFolder(folder / ADAPTERS)
        copied.prepare()
        registry_id = files.registry_id()
        target = AdapterFiles(copied)
        if registry_id is not None:
            target.write_registry_id(registry_id)
        versions, problems = _versions(folder / DATABASE, database.place)
        problems += [problem for version in versions if (problem := _copy(version, files, target)) is not None]
    tasks = len({version.task for version in versions})
    size = sum(version.adapter_bytes for version in versions)
    return BackupReport(str(destination), moment, tasks, len(versions), size, tuple(problems))


def _checked(destination: Path, database: Database, files: AdapterFiles) -> Path:
    """Return the whole path of a place where a backup can be made. Raises RegistryError for any other."""
    if "://" in str(destination) or ":/" in str(destination):
        raise RegistryError(f"a backup is a folder, and {destination} looks like a URL: name a new folder")
    place = destination.expanduser()
    with file_errors(place, "look at"):
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise RegistryError(f"{destination} is a link or a file, and a backup is a folder: name a new one")
        place = place.resolve()
        for own in {database.place, files.store.place} - {""}:
            if "://" not in own and (Path(own).resolve() == place or Path(own).resolve() in place.parents):
                raise RegistryError(f"{destination} is inside the registry itself: name a folder elsewhere")
        if place.exists() and any(place.iterdir()):
            raise RegistryError(f"{destination} is not empty, and a backup overwrites nothing: name a new folder")
    return place


@contextmanager
def _made_whole(destination: Path) -> Iterator[Path]:
    """Give a new folder, which gets the name of the destination once all of it is on the disk."""
    with file_errors(destination, "make a backup in"):
        destination.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=destination.parent, prefix=f".{destination.name}-"))
        try:
            yield folder
            sync_folder(folder)
            folder.replace(destination)
            sync_folder(destination.parent)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _versions(path: Path, place: str) -> tuple[list[VersionRecord], list[Problem]]:
    """Return the versions in the copy of a database, and what is wrong with the rows that are left out."""
    database = SqliteLocation(path).open()
    if database is None:
        raise RegistryError(f"{place} became empty meanwhile: nothing was copied")
    with database.read() as reader:
        return rows.versions(reader), [Problem(None, place, what) for what in rows.problems(reader)]


def _copy(version: VersionRecord, files: AdapterFiles, target: AdapterFiles) -> Problem | None:
    """Copy a version's file; return the problem with it where it is damaged or not there."""
    sha256 = version.adapter_sha256
    data = files.read_from_store(name_of(sha256))
    if data is None:
        data = trash.read(files.store, sha256)
    if data is None:
        # A rename moved it between the two looks, or it is lost.
        data = files.read_from_store(name_of(sha256))
    if data is None or digest(data) != sha256:
        what = "the file is missing" if data is None else "the file is not what was stored: its SHA-256 differs"
        return Problem(version.task, files.address(sha256), what)
    target.write(data)
    return None
