"""A lost or damaged database, made again from what the adapter files say of themselves."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import header, names, rows
from registry.adapter_files import AdapterFiles, digest, name_of
from registry.database import Home, Writing
from registry.file_stores import Stored
from registry.maintenance import READERS
from registry.manifest import Manifest
from registry.records import Problem, RebuildReport


class _Found(NamedTuple):
    """A readable adapter file."""

    file: Stored
    address: str
    sha256: str
    manifest: Manifest


def rebuild(home: Home, files: AdapterFiles) -> RebuildReport:
    """A new database in the place of the former one, which is kept.

    Restored are the backbone, the tasks with their ids, every version that is still a file, and the order of
    learning. Of each task the newest version becomes the current one. What only the database knew is lost:
    measurements, a rollback, the backbone's `background`. Left out and reported: files that cannot be read, of
    another backbone than most, or that claim the place of a file written later.
    """
    readable, skipped = _readable(files)
    if not readable:
        where = files.store.place
        raise RegistryError(f"no readable adapter in {where} ({len(skipped)} damaged): nothing to restore from")
    chosen, left_out = _chosen(readable)
    former = home.rebuild(lambda writing: _restore(writing, chosen))
    tasks = len({names.key(one.manifest.name) for one in chosen})
    return RebuildReport(tasks, len(chosen), (*skipped, *left_out), former)


def _readable(files: AdapterFiles) -> tuple[list[_Found], list[Problem]]:
    with ThreadPoolExecutor(READERS) as pool:
        read = list(pool.map(lambda file: _read(files, file), files.adapters()))
    found = [one for one in read if isinstance(one, _Found)]
    return found, [one for one in read if isinstance(one, Problem)]


def _read(files: AdapterFiles, file: Stored) -> _Found | Problem:
    address = files.store.address(file.name)
    try:
        data = files.stored(file.name)
        if data is None or name_of(digest(data)) != file.name:
            raise CorruptRegistryError("is damaged: its content does not have the SHA-256 in its name")
        manifest = Manifest.read(header.read(data).description(), datetime.fromtimestamp(file.written, UTC))
        return _Found(file, address, digest(data), manifest)
    except RegistryError as error:
        return Problem(None, address, str(error))


def _chosen(found: list[_Found]) -> tuple[list[_Found], list[Problem]]:
    """One file a version, one task a name, one backbone; the newest file wins. In the order of learning."""
    prints = [one.manifest.backbone.fingerprint for one in found]
    most = max(sorted(set(prints)), key=prints.count)
    problems = []
    versions: dict[tuple[str, int], _Found] = {}
    # A name may have been free again, and a killed rename leaves one task under two names.
    task_of: dict[str, int | None] = {}
    name_of: dict[int, str] = {}
    for one in sorted(found, key=_age, reverse=True):
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


def _age(one: _Found) -> tuple[float, datetime, str]:
    return one.file.written, one.manifest.created, one.sha256


def _restore(writing: Writing, chosen: list[_Found]) -> None:
    """Rows for these files, in this order."""
    from registry.models import BackboneRow, TaskRow, VersionRow

    backbone = chosen[-1].manifest.backbone
    values = {"name": backbone.name, "fingerprint": backbone.fingerprint, "parameters": backbone.parameters}
    writing.insert(BackboneRow, [{"id": rows.BACKBONE_ID, **values, "bytes": backbone.bytes, "background": b""}])
    tasks = _tasks(chosen)
    versions = []
    for id, one in enumerate(chosen, 1):
        task = tasks[names.key(one.manifest.name)]
        versions.append({"id": id, **rows.version_values(one.manifest, task["id"], one.sha256, one.file.bytes)})
        if one.manifest.number > task["last_number"]:
            task |= {"last_number": one.manifest.number, "current_version_id": id}
    writing.insert(TaskRow, list(tasks.values()))
    writing.insert(VersionRow, versions)


def _tasks(chosen: list[_Found]) -> dict[str, dict[str, Any]]:
    """A row a task. One that does not know its id gets a higher one than all that do."""
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
