"""Makes a lost or damaged database again from what the adapter files say of themselves."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import header, names, rows
from registry.adapter_files import AdapterFiles, digest, name_of
from registry.database import DatabaseLocation, Writer
from registry.file_stores import Stored
from registry.maintenance import READERS
from registry.manifest import Manifest
from registry.records import Problem, RebuildReport


class _ReadableFile(NamedTuple):
    """An adapter file that could be read, and what it says."""

    file: Stored
    address: str
    sha256: str
    manifest: Manifest


def rebuild(location: DatabaseLocation, files: AdapterFiles) -> RebuildReport:
    """Put a new database in the place of the former one, which is kept.

    The backbone, the tasks with their ids, every version whose file is there, and the order of learning are restored.
    The newest version of each task becomes the current one. What only the database knew is lost: measurements, a
    rollback, the backbone's `background`. Files that cannot be read, that belong to another backbone than most, or
    that claim the place of a file written later are left out and reported.

    Raises:
        RegistryError: no adapter file can be read.
    """
    readable, skipped = _readable(files)
    if not readable:
        where = files.store.place
        raise RegistryError(f"no readable adapter in {where} ({len(skipped)} damaged): nothing to restore from")
    chosen, left_out = _chosen(readable)
    former = location.rebuild(lambda writer: _restore(writer, chosen))
    tasks = len({names.key(one.manifest.name) for one in chosen})
    return RebuildReport(tasks, len(chosen), (*skipped, *left_out), former)


def _readable(files: AdapterFiles) -> tuple[list[_ReadableFile], list[Problem]]:
    with ThreadPoolExecutor(READERS) as pool:
        read = list(pool.map(lambda file: _read(files, file), files.adapters()))
    found = [one for one in read if isinstance(one, _ReadableFile)]
    return found, [one for one in read if isinstance(one, Problem)]


def _read(files: AdapterFiles, file: Stored) -> _ReadableFile | Problem:
    address = files.store.address(file.name)
    try:
        data = files.read_from_store(file.name)
        if data is None or name_of(digest(data)) != file.name:
            raise CorruptRegistryError("is damaged: its content does not have the SHA-256 in its name")
        manifest = Manifest.from_header(header.read(data).description(), datetime.fromtimestamp(file.written, UTC))
        return _ReadableFile(file, address, digest(data), manifest)
    except RegistryError as error:
        return Problem(None, address, str(error))


def _chosen(found: list[_ReadableFile]) -> tuple[list[_ReadableFile], list[Problem]]:
    """Choose one file for each version, one task for each name, and one backbone; the newest file wins.

    Returns the chosen files in the order of learning, and the problem with each of the others.
    """
    prints = [one.manifest.backbone.fingerprint for one in found]
    most = max(sorted(set(prints)), key=prints.count)
    problems = []
    versions: dict[tuple[str, int], _ReadableFile] = {}
    # A removed task's name may have been given again, and a killed rename leaves one task under two names.
    task_of: dict[str, int | None] = {}
    name_of: dict[int, str] = {}
    for one in sorted(found, key=_written, reverse=True):
        manifest = one.manifest
        name, id = names.key(manifest.name), manifest.task_id
        slot = (name, manifest.number)
        if manifest.backbone.fingerprint != most:
            problems.append(Problem(manifest.name, one.address, "was learned on another backbone than most"))
        elif slot in versions or task_of.get(name, id) != id or (id is not None and name_of.get(id, name) != name):
            problems.append(Problem(manifest.name, one.address, "a file written later has its place"))
        else:
            versions[slot] = one
            task_of[name] = id
            if id is not None:
                name_of[id] = name
    ordered = sorted(versions.values(), key=lambda one: (one.manifest.created, one.manifest.number, one.sha256))
    return ordered, problems


def _written(one: _ReadableFile) -> tuple[float, datetime, str]:
    return one.file.written, one.manifest.created, one.sha256


def _restore(writer: Writer, chosen: list[_ReadableFile]) -> None:
    """Insert rows for these files, in this order."""
    from registry.models import BackboneRow, TaskRow, VersionRow

    backbone = chosen[-1].manifest.backbone
    writer.insert(BackboneRow, [{"id": rows.BACKBONE_ID, **asdict(backbone)}])
    tasks = _tasks(chosen)
    versions = []
    for id, one in enumerate(chosen, 1):
        task = tasks[names.key(one.manifest.name)]
        versions.append({"id": id, **rows.version_values(one.manifest, task["id"], one.sha256, one.file.bytes)})
        if one.manifest.number > task["last_number"]:
            task |= {"last_number": one.manifest.number, "current_version_id": id}
    writer.insert(TaskRow, list(tasks.values()))
    writer.insert(VersionRow, versions)


def _tasks(chosen: list[_ReadableFile]) -> dict[str, dict[str, Any]]:
    """Return a row for each task. A task whose files do not give its id gets a higher one than all others."""
    known = {names.key(one.manifest.name): one.manifest for one in chosen}
    free = itertools.count(1 + max((one.task_id or 0 for one in known.values()), default=0))
    return {
        key: {
            "id": next(free) if one.task_id is None else one.task_id,
            "name": one.name,
            "key": key,
            "created": one.task_created,
            "last_number": 0,
        }
        for key, one in known.items()
    }
