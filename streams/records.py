"""The rows of a data set before they become a task, and the checks that every layout's reader shares.

Messages leave out the folder of the data, because the loader puts it in front of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from cl_ast.errors import StreamError
from cl_ast.excerpts import Place, place_of

TAG_MARK = ";"
"""What stands between two labels of one clip."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a data set. An empty string means that the data have no such column.

    Attributes:
        label: its class; where clips have tags, all tags of the clip in one text.
        span: where an excerpt begins and ends in its recording, in seconds; None for a file of its own.
        tags: where clips may have several labels, those of this one, sorted; else empty.
    """

    path: Path
    label: str
    split: str = ""
    fold: str = ""
    speaker: str = ""
    span: tuple[float, float] | None = None
    tags: tuple[str, ...] = ()

    @property
    def place(self) -> Place:
        """Where the clip is: its file, or the part of its recording."""
        return place_of(self.path, self.span)

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label of the clip: its tags, or its class alone."""
        return self.tags or (self.label,)

    def with_tags(self, tags: Iterable[str]) -> "Record":
        """Return the record with these tags, of which there is at least one."""
        own = tuple(sorted(set(tags)))
        return replace(self, label=TAG_MARK.join(own), tags=own)


def record_in(shape: str, record: Record, value: str) -> Record:
    """Return a record with its split, or its fold where the shape is "folds"."""
    return replace(record, split=value) if shape == "splits" else replace(record, fold=value)


class Listed(NamedTuple):
    """A record, and the row of a table or the line of a label file that it is from, for messages."""

    record: Record
    place: str


class Splits(NamedTuple):
    """Three lists of records that share no record."""

    train: list[Record]
    validation: list[Record]
    test: list[Record]


class Collection(NamedTuple):
    """All records of a data set, its labels in their order, and sentences about what was left out or changed."""

    records: list[Record]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()


def with_numbered_labels(records: Sequence[Record], numbers: Sequence[tuple[str, str]]) -> Collection:
    """Return the records with their labels in the order of the data set's own class numbers.

    Args:
        records: all records of the data set.
        numbers: pairs of a class number, as text, and the label that it stands for.

    Raises:
        StreamError: a class number is not a number, one number has two labels, or one label has two numbers.
    """
    by_number: dict[int, str] = {}
    for number, label in numbers:
        if not (number.isascii() and number.isdigit()):
            raise StreamError(f"class number {number!r} of {label!r} is not a number; unpack the data again")
        if by_number.setdefault(int(number), label) != label:
            raise StreamError(f"class {number} is both {by_number[int(number)]!r} and {label!r}; unpack the data again")
    labels = tuple(by_number[number] for number in sorted(by_number))
    if len(set(labels)) < len(labels):
        raise StreamError("two class numbers have the same name; unpack the data again")
    return Collection(list(records), labels)


def with_sorted_labels(records: Sequence[Record]) -> Collection:
    """Return the records with their labels sorted, for data that have no order of their own."""
    return Collection(list(records), tuple(sorted({label for r in records for label in r.labels})))
