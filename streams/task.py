"""What a task is: its labels, its splits, and how to load it again."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from cl_ast.errors import StreamError


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled recording."""

    path: Path
    label: str


@dataclass(frozen=True, slots=True)
class Source:
    """How to load the same task again: what `load` was asked for, with the data's absolute path."""

    task: str
    data: str
    name: str
    fold: str | None = None
    few_shot: int | None = None
    max_seconds: float | None = None
    seed: int = 0
    split_by: str = "auto"

    def to_json(self) -> dict[str, Any]:
        """The source as JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Source":
        """The source that `to_json` wrote.

        Raises:
            StreamError: a field is missing, unknown or of the wrong type.
        """
        known = {field.name: field.type for field in fields(cls)}
        unknown = sorted(set(value) - set(known))
        missing = sorted({"task", "data", "name"} - set(value))
        wrong = sorted(key for key in set(value) & set(known) if not isinstance(value[key], _json_types(known[key])))
        if unknown or missing or wrong:
            raise StreamError(
                f"not a stored source of a task (unknown: {unknown}, missing: {missing}, of a wrong type:"
                f" {wrong}); load the task again from its data"
            )
        return cls(**value)


def _json_types(annotation: Any) -> tuple[type, ...]:
    """The types a JSON value of that field may have; an integer is a fine number."""
    types = getattr(annotation, "__args__", (annotation,))
    return (*types, int) if float in types else tuple(types)


@dataclass(frozen=True, slots=True)
class Task:
    """A named task: fixed labels and three disjoint splits of clips.

    `labels` keep the data set's own order where it has one. `clip_seconds` is what a clip is cut or padded to
    for training. `protocol` says in one sentence how the splits were made.
    """

    name: str
    labels: tuple[str, ...]
    train: tuple[Clip, ...]
    validation: tuple[Clip, ...]
    test: tuple[Clip, ...]
    clip_seconds: float
    protocol: str
    source: Source

    def fingerprint(self) -> str:
        """SHA-256 over the labels and, per split, every clip's relative path, label and size in bytes.

        Paths are relative to the data, so that a copy in another place has the same fingerprint.

        Raises:
            StreamError: a clip has gone since the task was loaded.
        """
        import hashlib  # here, as it loads OpenSSL

        digest = hashlib.sha256()

        def add(*parts: str) -> None:
            # Lengths first: no two lists of parts can run together into the same bytes.
            for part in parts:
                encoded = part.encode("utf-8", "surrogateescape")
                digest.update(f"{len(encoded)}:".encode() + encoded)

        add("labels", *self.labels)
        root = Path(self.source.data)
        for split, clips in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            add(split, str(len(clips)))
            for clip in clips:
                try:
                    size = clip.path.stat().st_size
                except OSError as error:
                    raise StreamError(
                        f"{clip.path}: the clip is gone ({error.strerror}); load the task again"
                    ) from None
                add(clip.path.relative_to(root).as_posix(), clip.label, str(size))
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a data set before it is split; an empty string is a column the data does not have."""

    path: Path
    label: str
    split: str = ""
    fold: str = ""
    speaker: str = ""


class Splits(NamedTuple):
    """Three disjoint lists of records."""

    train: list[Record]
    validation: list[Record]
    test: list[Record]


class Collection(NamedTuple):
    """Everything a layout's reader found: all records, and the labels in their order."""

    records: list[Record]
    labels: tuple[str, ...]


def check_options(few_shot: int | None, max_seconds: float | None) -> None:
    """Refuse numbers that make no task.

    Raises:
        StreamError: K below 1, or seconds that are not a positive number.
    """
    if few_shot is not None and few_shot < 1:
        raise StreamError(f"few_shot is {few_shot}; it is how many clips a class are kept for training, so at least 1")
    if max_seconds is not None and not (math.isfinite(max_seconds) and max_seconds > 0):
        raise StreamError(f"max_seconds is {max_seconds}; it must be more than 0")
