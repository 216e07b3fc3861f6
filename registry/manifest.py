"""What an adapter file says of itself, typed: enough to restore its rows when the database is lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import names
from registry.records import BackboneRecord, NewVersion


@dataclass(frozen=True, slots=True)
class Manifest:
    """One adapter's place in its registry. `task_id` is None in a file that no registry has stamped."""

    name: str
    number: int
    task_id: int | None
    task_created: datetime
    created: datetime
    backbone: BackboneRecord
    new: NewVersion

    def words(self) -> dict[str, object]:
        """As it stands in the header."""
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
            "method": self.new.method,
            "labels": list(self.new.labels),
            "trainable_parameters": self.new.trainable_parameters,
            "seed": self.new.seed,
            "seconds": self.new.seconds,
            "source": dict(self.new.source),
            "data_fingerprint": self.new.data_fingerprint,
            "protocol": self.new.protocol,
            "packages": dict(self.new.packages),
            "learned_accuracy": self.new.learned_accuracy,
        }

    @classmethod
    def read(cls, words: Mapping[str, Any], unknown_time: datetime) -> "Manifest":
        """From a header; `unknown_time` where it gives none. Raises CorruptRegistryError."""
        try:
            created = _instant(words.get("created"), unknown_time)
            backbone = words["backbone"]
            return cls(
                name=names.checked(words["name"]),
                number=_count(words.get("version", 1), least=1),
                task_id=None if words.get("task_id") is None else _count(words["task_id"], least=1),
                task_created=_instant(words.get("task_created"), created),
                created=created,
                backbone=BackboneRecord(
                    name=_text(backbone["name"]),
                    fingerprint=_text(backbone["fingerprint"]),
                    parameters=_count(backbone["parameters"]),
                    bytes=_count(backbone["bytes"]),
                ),
                new=NewVersion(
                    method=_text(words["method"]),
                    labels=_labels(words["labels"]),
                    trainable_parameters=_count(words.get("trainable_parameters", 0)),
                    seed=int(words.get("seed", 0)),
                    seconds=float(words.get("seconds", 0)),
                    source=dict(words.get("source") or {}),
                    data_fingerprint=_text(words.get("data_fingerprint", "")),
                    protocol=_text(words.get("protocol", "")),
                    packages=dict(words.get("packages") or {}),
                    learned_accuracy=_fraction(words.get("learned_accuracy")),
                ),
            )
        except RegistryError as error:
            raise CorruptRegistryError(f"describes itself wrongly: {error}") from error
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CorruptRegistryError(f"describes itself wrongly: {error!r}") from error


def _count(value: Any, least: int = 0) -> int:
    if type(value) is not int or not least <= value < 2**63:
        raise ValueError(f"{value!r:.80} is not a count")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.80} is not text")
    return value


def _labels(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r:.80} is not a list of labels")
    return tuple(value)


def _fraction(value: Any) -> float | None:
    return None if value is None else float(value)


def _instant(value: Any, unknown: datetime) -> datetime:
    if value is None:
        return unknown
    moment = datetime.fromisoformat(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
