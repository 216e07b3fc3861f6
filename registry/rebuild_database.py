"""Makes a lost or damaged database again from what the adapter files say of themselves."""

import itertools
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import header, identity, names, rows, shared_parts
from registry.adapter_files import AdapterFiles, digest, name_of
from registry.database import DatabaseLocation, Reader, Writer
from registry.file_stores import Stored
from registry.maintenance import READERS
from registry.manifest import Manifest
from registry.records import BackboneRecord, Problem, RebuildReport, SharedPart
from registry.row_checks import MOST_CLAIMED_ID


class _ReadableFile(NamedTuple):
    """An adapter file that could be read, and what it says."""

    file: Stored
    address: str
    sha256: str
    manifest: Manifest


class _ReadableShared(NamedTuple):
    """The file of a shared part that could be read, what it says, and the fingerprint of its backbone."""

    file: Stored
    address: str
    part: SharedPart
    fingerprint: str


class _Known(NamedTuple):
    """What the former database still says.

    Attributes:
        backbone: None where it has none.
        ids: of its versions, by the SHA-256 of their files.
        shared: its shared parts.
    """

    backbone: BackboneRecord | None
    ids: Mapping[str, int]
    shared: Sequence[SharedPart] = ()


_NOTHING = _Known(None, {})


def rebuild(location: DatabaseLocation, files: AdapterFiles) -> RebuildReport:
    """Put new tables in the place of the former ones, which are kept.

    The backbone, the tasks with their ids, every version whose file is there, the order of learning, and every shared
    part are restored.
    The newest version of each task becomes the current one. From a former database that can be read, the backbone with
    its `background` and the ids of the versions are taken over. What else only the database knew is lost: measurements
    and a rollback. Files that cannot be read, that belong to another backbone, that read a shared part which is not
    there, or that claim the place of a file written later are left out and reported. Others wait meanwhile, as for any
    change.

    The registry keeps the id that the adapters' store has, or the former database.

    Raises:
        RegistryError: no adapter file can be read, the database is no registry or a newer cl-ast's, or it belongs to
            another registry than the adapters.
    """
    found: list[RebuildReport] = []

    def plan(former: Reader | None) -> Callable[[Writer], None]:
        registry_id = _registry_id(former, location.place, files)
        known = _known(former) if former is not None else _NOTHING
        readable, shared, skipped = _readable(files)
        chosen, left_out = _chosen(readable, known.backbone) if readable else ([], [])
        parts = _parts(chosen, shared, known)
        chosen, without = _with_shared(chosen, parts)
        left_out += without
        if not chosen:
            where, damaged = files.store.place, len(skipped) + len(left_out)
            raise RegistryError(f"no readable adapter in {where} ({damaged} damaged): nothing to restore from")
        tasks = len({names.key(one.manifest.name) for one in chosen})
        found.append(RebuildReport(tasks, len(chosen), (*skipped, *left_out), None))

        def fill(writer: Writer) -> None:
            identity.insert(writer, registry_id)
            _restore(writer, chosen, known, parts)
            if files.registry_id() is None:
                files.write_registry_id(registry_id)

        return fill

    former = location.rebuild(plan)
    return replace(found[0], backup=former)


def _registry_id(former: Reader | None, place: str, files: AdapterFiles) -> str:
    """Return which registry is restored. Raises RegistryError where the former database is of another."""
    if former is not None:
        try:
            return identity.agreed(former, place, files)
        except CorruptRegistryError:
            pass  # the former database does not say it any more
    return files.registry_id() or secrets.token_hex(16)


def _known(former: Reader) -> _Known:
    try:
        ids = {one.adapter_sha256: one.id for one in rows.versions(former)}
        return _Known(rows.backbone(former), ids, shared_parts.listed(former))
    except CorruptRegistryError:
        return _NOTHING


def _readable(files: AdapterFiles) -> tuple[list[_ReadableFile], list[_ReadableShared], list[Problem]]:
    with ThreadPoolExecutor(READERS) as pool:
        read = list(pool.map(lambda file: _read(files, file), files.adapters()))
    found = [one for one in read if isinstance(one, _ReadableFile)]
    shared = [one for one in read if isinstance(one, _ReadableShared)]
    return found, shared, [one for one in read if isinstance(one, Problem)]


def _read(files: AdapterFiles, file: Stored) -> _ReadableFile | _ReadableShared | Problem:
    address = files.store.address(file.name)
    try:
        data = files.read_from_store(file.name)
        if data is None or name_of(digest(data)) != file.name:
            raise CorruptRegistryError("is damaged: its content does not have the SHA-256 in its name")
        words = header.read(data).description()
        if shared_parts.is_one(words):
            return _ReadableShared(file, address, *shared_parts.from_file(data, words))
        manifest = Manifest.from_header(words, datetime.fromtimestamp(file.written, UTC))
        if max(manifest.number, manifest.task_id or 0) > MOST_CLAIMED_ID:
            raise CorruptRegistryError(f"claims an id or a number over {MOST_CLAIMED_ID:,}: no registry came so far")
        return _ReadableFile(file, address, digest(data), manifest)
    except RegistryError as error:
        return Problem(None, address, str(error))


def _chosen(found: list[_ReadableFile], backbone: BackboneRecord | None) -> tuple[list[_ReadableFile], list[Problem]]:
    """Choose one file for each version and one task for each name, the newest, over the backbone or that of most.

    Returns the chosen files in the order of learning, and the problem with each of the others.
    """
    prints = [one.manifest.backbone.fingerprint for one in found]
    most = backbone.fingerprint if backbone else max(sorted(set(prints)), key=prints.count)
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
            problems.append(
                Problem(
                    manifest.name,
                    one.address,
                    "was learned on another backbone than most"
                    if backbone is None
                    else "was learned on another backbone",
                )
            )
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


def _parts(chosen: list[_ReadableFile], found: list[_ReadableShared], known: _Known) -> list[SharedPart]:
    """Return the shared parts to restore, those of the chosen files' backbone, with the ids and names that they had."""
    prints = {one.manifest.backbone.fingerprint for one in chosen}
    had = {part.sha256: part for part in known.shared}
    free = itertools.count(1 + max((part.id for part in known.shared), default=0))
    parts: list[SharedPart] = []
    # Those that the former database knew come first, so that they keep their names.
    for one in sorted(found, key=lambda one: (one.part.sha256 not in had, one.part.created, one.part.sha256)):
        if one.fingerprint in prints:
            former = had.get(one.part.sha256)
            name = former.name if former else one.part.name
            name = shared_parts.free_name(name, one.part.sha256, [part.name for part in parts])
            parts.append(replace(one.part, id=former.id if former else next(free), name=name))
    return parts


def _with_shared(chosen: list[_ReadableFile], parts: list[SharedPart]) -> tuple[list[_ReadableFile], list[Problem]]:
    """Return the files whose shared part is there, if they read one, and the problem with each of the others."""
    there = {part.sha256 for part in parts} | {None}
    kept = [one for one in chosen if one.manifest.new.shared in there]
    lost = [one for one in chosen if one.manifest.new.shared not in there]
    return kept, [
        Problem(one.manifest.name, one.address, f"reads the shared part {one.manifest.new.shared}, which is not there")
        for one in lost
    ]


def _restore(writer: Writer, chosen: list[_ReadableFile], known: _Known, parts: list[SharedPart]) -> None:
    """Insert rows for these files, in this order. Files that the former database did not know get higher ids."""
    from registry.models import BackboneRow, SharedPartRow, TaskRow, VersionRow

    backbone = known.backbone or chosen[-1].manifest.backbone
    writer.insert(BackboneRow, [{"id": rows.ONE_ROW, **asdict(backbone)}])
    if parts:
        writer.insert(SharedPartRow, [{"id": part.id, **shared_parts.values(part)} for part in parts])
    tasks = _tasks(chosen)
    versions = []
    free = itertools.count(1 + max(known.ids.values(), default=0))
    for one in chosen:
        id = known.ids.get(one.sha256) or next(free)
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
