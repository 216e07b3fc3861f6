"""The description in an adapter file's header, typed: enough to restore its rows when the database is lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import names, row_checks
from registry.records import BackboneRecord
from registry.version_facts import NewVersion, check_text


@dataclass(frozen=True, slots=True)
class Manifest:
    """One adapter and its place in its registry.

    Attributes:
        name, number: the task's name, and which of its versions this is.
        task_id: the task's id; None in a file that no registry has written.
        task_created, created: when the task and when this version were first committed.
        backbone: what the adapter was learned on; its `background` is not in the file.
        new: what is known of the version.
    """

    name: str
    number: int
    task_id: int | None
    task_created: datetime
    created: datetime
    backbone: BackboneRecord
    new: NewVersion

    def to_header(self) -> dict[str, object]:
        """Return the description as it stands in the header."""
        return {
            "name": self.name,
            "version": self.number,
            "task_id": self.task_id,
            "task_created": self.task_created.isoformat(),
            "created": self.created.isoformat(),
            "backbone": {
                "name": self.backbone.name,
                "fingerprint": self.backbone.fingerprint,
                "parameters": self.backbone.parameters,
                "bytes": self.backbone.bytes,
            },
            **self.new.to_json(),
        }

    @classmethod
    def from_header(cls, words: Mapping[str, Any], unknown_time: datetime) -> "Manifest":
        """Read the description of a file that anybody may have written.

        Args:
            words: the description.
            unknown_time: stands for a time that the description does not give.

        Raises:
            CorruptRegistryError: something is missing, of the wrong type, or too large.
        """
        try:
            created = _instant(words.get("created"), unknown_time)
            backbone = words["backbone"]
            return cls(
                name=names.checked_stored(words["name"]),
                number=_id(words.get("version", 1)),
                task_id=None if words.get("task_id") is None else _id(words["task_id"]),
                task_created=_instant(words.get("task_created"), created),
                created=created,
                backbone=BackboneRecord(
                    name=_text("backbone's name", backbone["name"]),
                    fingerprint=_text("backbone's fingerprint", backbone["fingerprint"]),
                    parameters=_count(backbone["parameters"]),
                    bytes=_count(backbone["bytes"]),
                ),
                new=NewVersion.from_json(words),
            )
        except RegistryError as error:
            raise CorruptRegistryError(f"describes itself wrongly: {error}") from error
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CorruptRegistryError(f"describes itself wrongly: {error!r}") from error


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{value!r:.80} is not a count")
    return value


def _id(value: Any) -> int:
    if not row_checks.is_id(value):
        raise ValueError(f"{value!r:.80} is not an id or a number from 1 to {row_checks.MOST_ID:,}")
    return int(value)


def _text(what: str, value: Any) -> str:
    try:
        return check_text(what, value)
    except ValueError as error:
        raise RegistryError(f"the {what} {error}") from error


def _instant(value: Any, unknown: datetime) -> datetime:
    if value is None:
        return unknown
    moment = datetime.fromisoformat(value)
    return row_checks.check_time((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC))
