"""Checks a registry (`verify`). `garbage` drops what it does not need, `rebuild_database` restores a lost database."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import garbage, header, history, identity, rows, shared_parts
from registry.adapter_files import AdapterFiles, digest, name_of
from registry.database import Database
from registry.manifest import Manifest
from registry.records import BackboneRecord, Problem, SharedPart, VersionRecord

READERS = 8


def verify(database: Database, files: AdapterFiles) -> list[Problem]:
    """Return every problem of the database and of the files; first whether both belong to the same registry."""
    problems, backbone, versions, shared = _database_problems(database)
    with suppress(RegistryError), database.read() as reader:  # what it cannot read is reported already
        try:
            identity.agreed(reader, database.place, files)
            missing = identity.missing_beside(reader, files)
            if missing:
                problems.append(Problem(None, missing, "the file is missing; the next change writes it again"))
        except RegistryError as error:  # what the files of another registry lack is no problem of this one
            return [*problems, Problem(None, files.store.place, str(error))]
    # Every byte is read from the store, never from the cache: a flipped bit changes neither the size nor the date of a
    # file. Threads help, because reading and hashing release Python's lock.
    with ThreadPoolExecutor(READERS) as pool:
        fingerprint = backbone.fingerprint if backbone else ""
        found = list(pool.map(lambda version: _wrong(files, version, fingerprint), versions))
        wrong = list(pool.map(lambda part: _wrong_shared(files, part, fingerprint), shared))
    for version, what in zip(versions, found, strict=True):
        # A task that another process renamed or removed meanwhile is no problem.
        if what and _is_named(database, version.adapter_sha256):
            problems.append(Problem(version.task, files.address(version.adapter_sha256), what))
    for part, what in zip(shared, wrong, strict=True):
        if what and _is_named(database, part.sha256):
            problems.append(Problem(None, files.address(part.sha256), f'the shared part "{part.name}": {what}'))
    with suppress(RegistryError):  # rows that cannot be read are reported already
        problems += [Problem(None, files.store.address(one.name), str(one)) for one in garbage.unnamed(database, files)]
    return problems


def _database_problems(
    database: Database,
) -> tuple[list[Problem], BackboneRecord | None, list[VersionRecord], list[SharedPart]]:
    """Return what is wrong with the database, and of what it says all that can be read."""
    found: list[str] = []
    backbone: BackboneRecord | None = None
    versions: list[VersionRecord] = []
    shared: list[SharedPart] = []
    # Each part is looked at by itself, because the others may still be readable.
    with _reported(found):
        found += database.damage()
    with _reported(found), database.read() as reader:
        backbone = rows.backbone(reader)
    with _reported(found), database.read() as reader:
        found += rows.problems(reader)
        versions, shared = rows.versions(reader), shared_parts.listed(reader)
    with _reported(found), database.read() as reader:
        found += history.problems(reader)
    return [Problem(None, database.place, what) for what in dict.fromkeys(found)], backbone, versions, shared


@contextmanager
def _reported(found: list[str]) -> Iterator[None]:
    """Add the sentence of an error to `found` instead of raising it."""
    try:
        yield
    except RegistryError as error:
        found.append(str(error))


def _wrong(files: AdapterFiles, version: VersionRecord, fingerprint: str) -> str | None:
    """Return what is wrong with the file of a version; None where nothing is."""
    try:
        data = _stored(files, version.adapter_sha256)
        manifest = Manifest.from_header(header.read(data).description(), version.created)
    except RegistryError as error:
        return str(error)
    if (manifest.name, manifest.number) != (version.task, version.number):
        return "the file says that it is another task or version"
    if manifest.new.shared != version.shared:
        return "the file says that it reads another shared part"
    if manifest.backbone.fingerprint != fingerprint:
        return (
            f"the file says that it was made with another backbone, {manifest.backbone.name}; "
            "train the task again with `cl-ast add-task --replace`, or over another backbone with `cl-ast relearn`"
        )
    return None


def _wrong_shared(files: AdapterFiles, part: SharedPart, fingerprint: str) -> str | None:
    """Return what is wrong with the file of a shared part; None where nothing is."""
    try:
        data = _stored(files, part.sha256)
        told, backbone = shared_parts.from_file(data, header.read(data).description())
    except RegistryError as error:
        return str(error)
    if backbone != fingerprint:
        return "the file says that it was made with another backbone"
    return None if told.method == part.method else "the file says that it is of another method"


def _stored(files: AdapterFiles, sha256: str) -> bytes:
    """Return a file of the store. Raises CorruptRegistryError where it is missing or damaged."""
    data = files.read_from_store(name_of(sha256))
    if data is None:
        raise CorruptRegistryError("the file is missing")
    if digest(data) != sha256:
        raise CorruptRegistryError("the file is not what was stored: its SHA-256 differs")
    return data


def _is_named(database: Database, sha256: str) -> bool:
    """Return whether a row still names the file, also where the database fails by now."""
    try:
        with database.read() as reader:
            return bool(rows.files_named(reader, [sha256]))
    except RegistryError:
        return True
