"""Shared parts: tensors that several tasks share, each in a file beside the adapters that never changes.

A version names the shared part that its method reads by the SHA-256 of its file (`VersionFacts.shared`). The row and
the file of a shared part stay while a version names it; `gc` drops those that no current version names. The file
describes itself, as an adapter's does, so that `rebuild` can restore the row.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import header, names, row_checks
from registry.adapter_files import AdapterFiles, digest
from registry.database import Reader
from registry.records import BackboneRecord, SharedPart
from registry.version_facts import check_text

KIND = "shared part"
_MOST_TASKS = 1_000
_WRONG = (ValueError, TypeError, KeyError, OverflowError, RecursionError, RegistryError)
_SELECT = "SELECT id, name, method, CAST(tasks AS TEXT), sha256, bytes, CAST(created AS TEXT) FROM shared_parts"


def listed(reader: Reader, problems: list[str] | None = None) -> list[SharedPart]:
    """Return every shared part, the oldest first; rows that cannot be right are left out.

    Args:
        problems: gets a sentence for each row that is left out.
    """
    found = []
    for id, name, method, tasks, sha256, size, created in reader.query(f"{_SELECT} ORDER BY id"):
        try:
            if not row_checks.is_id(id):
                raise ValueError("its id cannot be")
            made = row_checks.instant(created)
            found.append(_checked(id, name, method, row_checks.parsed(tasks), sha256, size, made))
        except _WRONG as error:
            if problems is not None:
                problems.append(f"the shared part {name!r:.60} cannot be used: {' '.join(str(error).split()):.300}")
    return found


def named(reader: Reader, name: str) -> SharedPart:
    """Return the shared part of that name, whatever its case. Raises RegistryError where there is none."""
    parts = listed(reader)
    for part in parts:
        if names.key(part.name) == names.key(name):
            return part
    known = names.suggestion(name, [part.name for part in parts]) if parts else "`cl-ast share` makes one"
    raise RegistryError(f'no shared part "{name}" in the registry; {known}')


def check_free(name: str, parts: Iterable[SharedPart]) -> None:
    """Raise RegistryError where one of the shared parts has that name, whatever its case."""
    if any(names.key(part.name) == names.key(name) for part in parts):
        raise RegistryError(
            f'there is a shared part "{name}" already, and it never changes: choose another name; '
            "`cl-ast gc` drops one that no task reads"
        )


def of_file(reader: Reader, sha256: str) -> SharedPart | None:
    """Return the shared part with that file; None where no row names it."""
    return next((part for part in listed(reader) if part.sha256 == sha256), None)


def intact(files: AdapterFiles, sha256: str, name: str) -> bytes:
    """Return the bytes of a shared part's file. Raises CorruptRegistryError where it is missing or damaged."""
    return files.intact(
        sha256,
        f'the shared part "{name}"',
        "; until then the tasks that read it cannot answer, and no other task is affected",
    )


def described(data: bytes, part: SharedPart, backbone: BackboneRecord) -> bytes:
    """Return the file of a shared part with its description in the header; `part` has no file yet."""
    words = {
        "kind": KIND,
        "name": part.name,
        "method": part.method,
        "tasks": list(part.tasks),
        "created": part.created.isoformat(),
        "backbone": {"fingerprint": backbone.fingerprint},  # its name may be a path, which an export would tell
    }
    return header.described(data, words)


def values(part: SharedPart) -> dict[str, Any]:
    """Return the columns of its row, but for the id."""
    found = {key: value for key, value in asdict(part).items() if key != "id"}
    return {**found, "key": names.key(part.name), "tasks": list(part.tasks)}


def free_name(name: str, sha256: str, taken: Iterable[str]) -> str:
    """Return the name, or where another shared part has it, the name with some digits of the SHA-256."""
    keys = set(map(names.key, taken))
    return name if names.key(name) not in keys else f"{name[:80]}-{sha256[:12]}"


def is_one(words: Mapping[str, Any]) -> bool:
    """Return whether the description in a file's header is that of a shared part."""
    return words.get("kind") == KIND


def from_file(data: bytes, words: Mapping[str, Any]) -> tuple[SharedPart, str]:
    """Return what a file says that it is, with the id 0, and the fingerprint of its backbone.

    Args:
        words: the description in its header.

    Raises:
        CorruptRegistryError: something in it cannot be; the message continues a sentence whose subject is the file.
    """
    try:
        created = row_checks.check_time(datetime.fromisoformat(words["created"]))
        fingerprint = check_text("backbone's fingerprint", words["backbone"]["fingerprint"])
        return _checked(
            0, words["name"], words["method"], words["tasks"], digest(data), len(data), created
        ), fingerprint
    except _WRONG as error:
        raise CorruptRegistryError(f"describes itself wrongly: {error}") from error


def check_tasks(value: Any) -> list[str]:
    """Return the names of the tasks that a shared part was trained on. Raises ValueError for anything else."""
    if not isinstance(value, list | tuple) or len(value) > _MOST_TASKS:
        raise ValueError(f"the tasks of a shared part are a list of at most {_MOST_TASKS:,} names")
    return [names.checked_stored(name) for name in value]


def check_method(value: Any) -> str:
    """Return the method of a shared part. Raises ValueError for what cannot be one."""
    if not check_text("method", value):
        raise ValueError("the method of a shared part is empty")
    return str(value)


def _checked(id: int, name: Any, method: Any, tasks: Any, sha256: Any, size: Any, created: datetime) -> SharedPart:
    return SharedPart(
        id,
        names.checked_stored(name),
        check_method(method),
        tuple(check_tasks(tasks)),
        row_checks.require_sha256(sha256),
        row_checks.require_size(size),
        created,
    )
