"""The trash of a store: adapters that were dropped, until they are deleted for good.

A file there is called by the day on which it came and by the SHA-256 that it had: `trash/20261127-0a1b….safetensors`.
The day is in its name because a copy of a folder or a bucket has other dates of writing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from registry.file_stores import Store
from registry.row_checks import require_sha256

DAYS = 30
"""How many days a file stays in the trash."""
FOLDER = "trash"
_NAME = re.compile(r"([0-9]{8})-([0-9a-f]{64})\.safetensors")


@dataclass(frozen=True, slots=True)
class Trashed:
    """A file in the trash: its name in the store, the SHA-256 in it, the day on which it came, its size in bytes."""

    name: str
    sha256: str
    day: date
    bytes: int

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return today() - self.day > timedelta(DAYS)


def is_trashed(name: str) -> bool:
    """Return whether a file is called as one in the trash is, in its folder."""
    return _day(name) is not None


def name_today(sha256: str) -> str:
    """Return the name that a file gets in the trash today. Raises CorruptRegistryError for what is no SHA-256."""
    return f"{FOLDER}/{today():%Y%m%d}-{require_sha256(sha256)}.safetensors"


def listed(store: Store) -> list[Trashed]:
    """Return what is in the trash, the oldest first. Files that no registry put there are left out."""
    found = []
    for file in store.files(FOLDER):
        day = _day(file.name)
        if day is not None:
            found.append(Trashed(f"{FOLDER}/{file.name}", file.name[9:73], day, file.bytes))
    return found


def read(store: Store, sha256: str) -> bytes | None:
    """Return the bytes of an adapter in the trash, unchecked; None where it is not there."""
    named = _by_hash(store, [sha256])
    return store.read(named[sha256]) if named else None


def restore(store: Store, hashes: Iterable[str]) -> list[str]:
    """Move adapters out of the trash, durably, and return those that are not there."""
    wanted = list(hashes)
    named = _by_hash(store, wanted)
    store.move([(name, f"{sha256}.safetensors") for sha256, name in named.items()])
    return [sha256 for sha256 in wanted if sha256 not in named]


def delete(store: Store, names: Iterable[str]) -> None:
    """Delete files of the trash for good, by the names that `listed` gives."""
    for name in names:
        if name.startswith(f"{FOLDER}/") and is_trashed(name.removeprefix(f"{FOLDER}/")):
            store.delete(name)


def today() -> date:
    """Return the day in UTC."""
    return datetime.now(UTC).date()


def _by_hash(store: Store, hashes: Iterable[str]) -> dict[str, str]:
    """Return the names in the trash of these adapters, by hash; the one that came last where there are several."""
    wanted = set(hashes)
    return {one.sha256: one.name for one in listed(store) if one.sha256 in wanted} if wanted else {}


def _day(name: str) -> date | None:
    found = _NAME.fullmatch(name)
    try:
        return date.fromisoformat(found[1]) if found else None
    except ValueError:
        return None
