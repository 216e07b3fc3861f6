"""Defines a task: its labels, its splits, and what is needed to load it again."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cl_ast.errors import StreamError
from cl_ast.excerpts import Place, place_of
from streams.records import Record
from streams.values import nfc


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled recording, or a labelled part of one.

    Attributes:
        label: its class; in a task of tags, all tags of the clip in one text, such as "dog;rain".
        span: where an excerpt begins and ends in its recording, in seconds; None for a file of its own.
        tags: in a task of tags, the labels of this clip, sorted; else empty.
    """

    path: Path
    label: str
    span: tuple[float, float] | None = None
    tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, record: Record) -> "Clip":
        """Return the clip of a row."""
        return cls(record.path, record.label, record.span, record.tags)

    @property
    def place(self) -> Place:
        """Where the clip is: its file, or the part of its recording."""
        return place_of(self.path, self.span)

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label of the clip: its tags, or its class alone."""
        return self.tags or (self.label,)


SHUFFLED, BY_NAME = "shuffled", "by name"


@dataclass(frozen=True, slots=True)
class Source:
    """What is needed to load the same task again: the arguments of `load`, and the absolute path of the data.

    Attributes:
        draw: how a random split is drawn: `SHUFFLED`, as registries of older releases recorded it, or `BY_NAME`.
        excerpts: whether clips are excerpts of recordings. Where it is false, as older releases recorded it, the
            columns `start` and `end` of a table are ignored, and so are label files.
        tags: whether clips may have several labels. Where it is false, as older releases recorded it, a semicolon is a
            part of a label.
    """

    task: str
    data: str
    name: str
    fold: str | None = None
    few_shot: int | None = None
    max_seconds: float | None = None
    seed: int = 0
    split_by: str = "auto"
    draw: str = SHUFFLED
    excerpts: bool = False
    tags: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the source as JSON types. Without excerpts and tags it is as older releases wrote it."""
        found = asdict(self)
        for name in ("excerpts", "tags"):
            if not found[name]:
                del found[name]
        return found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Source":
        """Return the source that `to_json` wrote.

        Raises:
            StreamError: a field is missing, unknown or of the wrong type.
        """
        known = {field.name: field.type for field in fields(cls)}
        unknown = sorted(set(value) - set(known))
        missing = sorted({"task", "data", "name"} - set(value))
        wrong = sorted(key for key in set(value) & set(known) if not isinstance(value[key], _json_types(known[key])))
        if unknown or missing or wrong:
            raise StreamError(
                f"this is not a stored source of a task (unknown fields: {unknown}, missing fields: {missing},"
                f" fields of a wrong type: {wrong}); load the task again from its data"
            )
        return cls(**value)


def _json_types(annotation: Any) -> tuple[type, ...]:
    """Return the types that a JSON value of a field may have. A float field also takes an integer."""
    types = getattr(annotation, "__args__", (annotation,))
    return (*types, int) if float in types else tuple(types)


@dataclass(frozen=True, slots=True)
class Task:
    """A named task: its labels and three splits that share no clip.

    Attributes:
        name: the name of the task.
        labels: the class names, in the data set's own order if it has one.
        train, validation, test: the clips of each split.
        clip_seconds: the length in seconds that clips are cut or padded to.
        protocol: one sentence that says how the splits were made.
        source: what is needed to load the task again.
        notes: sentences about what was left out of the data, or taken in another way than it is written.
    """

    name: str
    labels: tuple[str, ...]
    train: tuple[Clip, ...]
    validation: tuple[Clip, ...]
    test: tuple[Clip, ...]
    clip_seconds: float
    protocol: str
    source: Source
    notes: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """Return a SHA-256 over the labels and, for each split, every clip's path, label and size in bytes.

        Of an excerpt the size is that of its recording, and where it begins and ends is added.

        Paths are relative to the data and in Unicode's composed form, so a copy on another disk has the same
        fingerprint.

        Raises:
            StreamError: a clip no longer exists.
        """
        import hashlib  # Imported here, because it loads OpenSSL.

        digest = hashlib.sha256()

        def add(*parts: str) -> None:
            # The length goes first, so that two different lists of parts never give the same bytes.
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
                add(nfc(clip.path.relative_to(root).as_posix()), clip.label, str(size), *span_words(clip.span))
        return digest.hexdigest()


def refuse_tags(tasks: Iterable[Task], what: str) -> None:
    """Raise a StreamError for a task whose clips may have several labels, for `what`, which cannot take it."""
    for task in tasks:
        if task.source.tags:
            raise StreamError(
                f"{task.name}: clips have several labels, and {what} counts clips as right or wrong; give tasks with"
                " one label a clip (`cl-ast add-task` learns tags)"
            )


def span_words(span: tuple[float, float] | None) -> tuple[str, ...]:
    """Return where an excerpt begins and ends as text that is hashed: seconds to the microsecond; nothing for None."""
    return () if span is None else tuple(f"{seconds:.6f}" for seconds in span)


def check_options(few_shot: int | None, max_seconds: float | None) -> None:
    """Check the numbers that `load` was given.

    Raises:
        StreamError: `few_shot` is below 1, or `max_seconds` is not a positive number.
    """
    if few_shot is not None and few_shot < 1:
        raise StreamError(f"few_shot is {few_shot}; it is the number of training clips per class, so give at least 1")
    if max_seconds is not None and not (math.isfinite(max_seconds) and max_seconds > 0):
        raise StreamError(f"max_seconds is {max_seconds}; it must be more than 0")
