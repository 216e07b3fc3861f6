"""Checks what a database says, since anybody may have written it: rows that cannot be right are left out and reported.

The limits here hold for the headers of adapter files, too, since their ids and times become rows in a rebuild.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from json import JSONDecoder
from typing import Any

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import names
from registry.limits import BYTES, DEPTH
from registry.records import BackboneRecord, VersionRecord, version_record
from registry.version_facts import RULES, check_text, is_sha256, is_shallow

MOST_ID = 2 * 10**9
"""The highest id and version number of a row; a server's columns hold little more."""
MOST_CLAIMED_ID = MOST_ID // 2
"""The highest that a file may claim in a rebuild, so that enough ids are left afterwards."""
_YEARS = range(1970, 3000)
_MOST_BYTES = 2**50
_REGISTRY_ID = re.compile(r"[0-9a-f]{32}")
_WRONG = (ValueError, TypeError, OverflowError, RecursionError, RegistryError)


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


_SCAN = JSONDecoder(parse_constant=_no_constant).scan_once  # type: ignore[attr-defined]
_CHECKS = [rule.check for rule in RULES.values()]
_OBJECTS = {place: BYTES[name] // 2 for place, name in enumerate(RULES) if name in ("source", "training")}
_LONGEST_JSON = [BYTES.get(name, 0) * 7 for name in RULES]  # a character of two bytes may be an escape of twelve
_REMEMBERED = 1_000  # texts of a column; where they mostly differ, remembering all takes more time than it saves
_NUMBERS = [
    (place, RULES[name].check)
    for place, name in enumerate(RULES)
    if name in ("trainable_parameters", "seed", "seconds", "learned_accuracy")
]
_TEXTS = sorted(set(range(len(RULES))) - {place for place, _ in _NUMBERS})  # texts, and JSON
_IS_JSON = [rule.json for rule in RULES.values()]


def require_sha256(value: object) -> str:
    """Return a SHA-256. Raises CorruptRegistryError for anything else: it would become a part of a path."""
    if not is_sha256(value):
        raise CorruptRegistryError(f"{value!r:.80} is no SHA-256, so there is no file of that name")
    return str(value)


def require_registry_id(value: object, where: str) -> str:
    """Return the id of a registry. Raises CorruptRegistryError for anything else."""
    if not isinstance(value, str) or not _REGISTRY_ID.fullmatch(value):
        raise CorruptRegistryError(f"{where} names its registry {value!r:.80}, which is no id of a registry")
    return value


def require_size(value: object) -> int:
    """Return the size of a file in bytes. Raises ValueError for what cannot be one."""
    if type(value) is not int or not 0 <= value < _MOST_BYTES:
        raise ValueError(f"the size of its file cannot be {value!r:.30} bytes")
    return value


def check_time(moment: datetime) -> datetime:
    """Return a time. Raises ValueError for one so far away that the next could not be told."""
    if moment.year not in _YEARS:
        raise ValueError(f"the year must be from {_YEARS[0]} to {_YEARS[-1]}, not {moment.year}")
    return moment


def instant(text: str) -> datetime:
    """Return the time that a database wrote, which is in UTC. Raises ValueError or TypeError for anything else."""
    return check_time(datetime.fromisoformat(text + "+00:00").astimezone(UTC))


def is_id(value: object) -> bool:
    """Return whether a value can be an id or the number of a version."""
    return type(value) is int and 0 < value <= MOST_ID


def is_name(value: object) -> bool:
    """Return whether a value can be the name of a task."""
    try:
        return bool(names.checked_stored(value))  # type: ignore[arg-type]  # it may be anything
    except RegistryError:
        return False


class VersionReader:
    """Makes records of rows. It checks each text once, and parses it if it is JSON, as many versions share theirs.

    Attributes:
        problems: what is wrong with the rows that were left out, in words.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._checked_texts: list[tuple[int, dict[Any, Any]]] = [(place, {}) for place in _TEXTS]

    def read(self, row: Sequence[Any]) -> tuple[VersionRecord, int, datetime] | None:
        """Return a version, the id of its task and when that was made; None for a row that cannot be right."""
        try:
            return self._checked(row)
        except _WRONG as error:
            said = " ".join(str(error).split())
            what = f"the version with the id {row[0]!r:.30} (task {row[1]!r:.60}) cannot be used: {said:.300}"
            self.problems.append(what)
            return None

    def _checked(self, row: Sequence[Any]) -> tuple[VersionRecord, int, datetime]:
        id, name, key, number, sha256, size, created, task_id, task_created, *facts = row
        if not (is_id(id) and is_id(task_id) and is_id(number)):
            wrong = next(value for value in (id, task_id, number) if not is_id(value))
            raise ValueError(f"an id or a number of a version is from 1 to {MOST_ID:,}, not {wrong!r:.30}")
        if names.key(names.checked_stored(name)) != key:
            raise ValueError("the key of its task does not belong to the name")
        require_size(size)
        made = instant(created)
        # These two loops take most of the time of listing.
        for place, check in _NUMBERS:
            facts[place] = check(facts[place])
        for place, known in self._checked_texts:
            value = facts[place]
            facts[place] = known[value] if value in known else self._fact(place, known, value)
        version = version_record((*facts, id, name, number, require_sha256(sha256), size, made))
        return version, task_id, made if task_created == created else instant(task_created)

    def _fact(self, place: int, known: dict[Any, Any], value: Any) -> Any:
        found = self._checked_json(place, value) if _IS_JSON[place] else _CHECKS[place](value)
        if len(known) < _REMEMBERED:
            known[value] = found
        return found

    def _checked_json(self, place: int, text: str) -> Any:
        if isinstance(text, str) and len(text) > _LONGEST_JSON[place]:
            raise ValueError(f"its JSON has {len(text):,} characters; {_LONGEST_JSON[place]:,} are the most")
        found = parsed(text)
        # The check of an object writes it as JSON again, to see how long that is and whether all of it is text.
        plain = len(text) <= _OBJECTS.get(place, -1) and type(found) is dict and text.isascii() and "\\u" not in text
        return found if plain and is_shallow(found.values(), DEPTH - 1) else _CHECKS[place](found)


def counts(text: Any) -> dict[str, int]:
    """Return the JSON of counts by task id. Raises ValueError or TypeError for anything else."""
    found = parsed(text)
    if not isinstance(found, dict):
        raise ValueError("it is no object of counts")
    for clips in found.values():
        if type(clips) is not int or not 0 <= clips < 2**53:
            raise ValueError("it is no object of counts")
    return found


def backbone(row: Sequence[Any]) -> BackboneRecord:
    """Return the backbone that a row holds. Raises CorruptRegistryError for a row that cannot be right."""
    name, fingerprint, parameters, size, background = row
    sizes = all(type(count) is int and 0 <= count < _MOST_BYTES for count in (parameters, size))
    if not (_is_text("backbone's name", name) and _is_text("backbone's fingerprint", fingerprint)) or not (
        sizes and isinstance(background, bytes)
    ):
        raise CorruptRegistryError(
            "the database says something of its backbone that cannot be: run `cl-ast rebuild` to restore the database "
            "from the adapter files"
        )
    return BackboneRecord(name, fingerprint, parameters, size, background)


@contextmanager
def of_one_row() -> Iterator[None]:
    """Turn what a bad value makes SQLAlchemy raise into a CorruptRegistryError."""
    try:
        yield
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise unreadable("a row that is needed") from error


def unreadable(what: str) -> CorruptRegistryError:
    """Return the error for rows that cannot be read."""
    return CorruptRegistryError(
        f"{what} cannot be read: `cl-ast verify` says why, and `cl-ast rebuild` restores the database from the "
        "adapter files"
    )


def parsed(text: Any) -> Any:
    """Return the value of a JSON text. Raises ValueError, or RecursionError where it is too deep."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r:.40} is not JSON")
    try:
        value, end = _SCAN(text, 0)  # what `raw_decode` does, without the time of the call
    except StopIteration:
        raise ValueError("it is not JSON") from None
    if end != len(text) and text[end:].strip():
        raise ValueError("something follows its JSON")
    return value


def _is_text(what: str, value: Any) -> bool:
    try:
        return bool(check_text(what, value))
    except ValueError:
        return False
