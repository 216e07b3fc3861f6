"""Reads the labels of clips that may have several, which are then called tags. These functions touch no file.

    file,label                  file,label            file,labels
    1.wav,dog;rain              1.wav,dog             1.wav,"dog,rain"
    2.wav,rain                  1.wav,rain            2.wav,rain
                                2.wav,rain

In a column `labels` or `tags`, commas are between the labels where no cell has a semicolon.
"""

from collections.abc import Sequence
from pathlib import Path

from cl_ast.errors import StreamError
from streams.records import TAG_MARK, Listed, Record
from streams.values import clean


def in_tags(listed: Sequence[Listed], *, several: bool) -> list[Listed]:
    """Return the clips of a table with their tags, one row a clip; or as they are, if no clip has several labels.

    Rows of one file are joined, unless they are parts of a recording.

    Args:
        several: whether clips have tags in any case, since the name of the column says so.

    Raises:
        StreamError: a row has no label, lists a label of a clip again, or says another split, fold or speaker.
    """
    labels = [record.label for record, _ in listed]
    if not (several or any(TAG_MARK in label for label in labels) or _has_several_rows(listed)):
        return list(listed)
    mark = TAG_MARK if not several or any(TAG_MARK in label for label in labels) else ","
    found: dict[object, Listed] = {}
    for number, (record, place) in enumerate(listed):
        tags = [tag for part in record.label.split(mark) if (tag := clean(part))]
        if not tags:
            raise StreamError(f"{place}: no label; fill it in or take the row out")
        key: object = record.path if record.span is None else number
        first = found.get(key)
        if first is None:
            found[key] = Listed(record.with_tags(tags), place)
        else:
            _check_agree(first, record, tags, place)
            found[key] = Listed(first.record.with_tags((*first.record.tags, *tags)), first.place)
    return list(found.values())


def all_in_tags(records: Sequence[Record]) -> tuple[list[Record], tuple[str, ...]]:
    """Return all records with tags if some have them, and a sentence that says so; else the records as they are."""
    several = sum(len(record.tags) > 1 for record in records)
    if not any(record.tags for record in records):
        return list(records), ()
    note = f"{several} of {len(records)} clips have several labels, so each label is learned as a tag, on its own"
    return [record if record.tags else record.with_tags([record.label]) for record in records], (note,)


def _has_several_rows(listed: Sequence[Listed]) -> bool:
    first: dict[Path, str] = {}
    return any(r.span is None and first.setdefault(r.path, r.label) != r.label for r, _ in listed)


def _check_agree(first: Listed, record: Record, tags: Sequence[str], place: str) -> None:
    """Raise a StreamError if a further row of a clip repeats a label, or contradicts the first row."""
    again = sorted(set(first.record.tags) & set(tags))
    if again:
        raise StreamError(
            f"{place}: {record.path.name!r} is listed already in {first.place} with the label {again[0]!r}; keep one"
        )
    for column in ("split", "fold", "speaker"):
        own, other = getattr(record, column), getattr(first.record, column)
        if own != other:
            raise StreamError(
                f"{place}: the {column} of {record.path.name!r} is {own!r}, and {other!r} in {first.place}; give all"
                " rows of a clip the same"
            )
