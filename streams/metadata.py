"""Reads the `audiofolder` convention: a `metadata.csv` or `metadata.jsonl` beside the clips.

The columns are `file` (or `file_name`), `label` and optionally `split`, `fold` and `speaker`, and `start` and `end` for
clips that are parts of recordings. Where clips may have several labels, `streams.tags` says how they are written. Other
columns are ignored, and so is a column that is empty in every row. See
https://huggingface.co/docs/datasets/audio_dataset
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from cl_ast.errors import StreamError
from streams.find_files import find_files
from streams.records import Listed, Record
from streams.table_files import TAG_COLUMNS, Row, read_rows, say_columns
from streams.tags import in_tags
from streams.values import seconds_of
from streams.walk import EXTENSIONS

NAMES = ("metadata.csv", "metadata.jsonl")
TABS = "metadata.tsv"
SPAN = ("start", "end")
"""The columns that say which part of a recording a row is, in seconds."""
FORMATS = "wav, flac, ogg, opus, mp3, aiff, au, caf or w64"

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "devel", "development", "validate"), "validation"),
    **dict.fromkeys(("test", "tests", "testing", "tst", "eval", "evaluation"), "test"),
}
"""The name of a split for each word, in lower case, that data use for it."""


def find_metadata(folder: Path) -> Path | None:
    """Return the folder's metadata file, or None if it has none. Its name may be in upper case.

    Raises:
        StreamError: the folder has two, or one that is separated by tabs.
    """
    found = _metadata_in(folder)
    read = [path for path in found if path.name.lower() in NAMES]
    if len(read) > 1:
        raise StreamError(f"there are both {' and '.join(path.name for path in read)}; keep one")
    if found and not read:
        raise StreamError(f"{found[0].name} is not read; save it with commas as {NAMES[0]}, or take it away")
    return read[0] if read else None


def has_metadata(folder: Path) -> bool:
    """Return whether the folder has a metadata file, be it one that is read or not."""
    return bool(_metadata_in(folder))


def _metadata_in(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.lower() in (*NAMES, TABS) and entry.is_file()]
    return [folder / name for name in sorted(names)]


def read_metadata(
    path: Path, root: Path, split: str = "", fold: str = "", *, excerpts: bool = False, tags: bool = False
) -> list[Listed]:
    """Read the records that a metadata file lists.

    Args:
        path: the metadata file.
        root: the folder of the data; messages give paths relative to it.
        split: the split of all the records, if the name of the file's folder says so.
        fold: their fold, if the name of the file's folder says so.
        excerpts: whether rows are parts of recordings where the table has the columns `start` and `end`.
        tags: whether clips may have several labels.

    Raises:
        StreamError: a needed column or cell is missing, a path leads outside, or a file is missing or is listed
            twice, or a start or end is no number, or rows of one clip contradict each other.
    """
    rows = read_rows(path, root)
    name = path.relative_to(root).as_posix()
    file_column = _required(rows, ("file", "file_name"), name)
    column = next((one for one in ("label", *TAG_COLUMNS) if tags and _filled(rows, one)), "label")
    _required(rows, (column,), name)
    optional = [column for column in ("split", "fold", "speaker") if _filled(rows, column)]
    given = {column: value for column, value in (("split", split), ("fold", fold)) if value}
    records = [_record(row, path.parent, file_column, column, optional, given) for row in rows]
    if excerpts and all(_filled(rows, column) for column in SPAN):
        records = [replace(record, span=_span(row)) for record, row in zip(records, rows, strict=True)]
    records = find_files(records, root, f"correct {name} or put them there")
    _check_folds(records, name)
    listed = [Listed(record, row.place) for record, row in zip(records, rows, strict=True)]
    if tags:
        listed = in_tags(listed, several=column != "label")
    _check_listed_once(listed)
    return listed


def _span(row: Row) -> tuple[float, float]:
    start, end = (seconds_of(row.need(column)) for column in SPAN)
    if start is None or end is None:
        wrong = SPAN[0] if start is None else SPAN[1]
        raise StreamError(f"{row.place}: the {wrong} {row.need(wrong)!r} is no number; write seconds, such as 12.5")
    return start, end


def _filled(rows: Sequence[Row], column: str) -> bool:
    return any(row.cells.get(column) for row in rows)


def _required(rows: Sequence[Row], names: Sequence[str], table: str) -> str:
    """Return the first of the columns that has values, or raise a StreamError."""
    found = next((name for name in names if _filled(rows, name)), None)
    if found is None:
        wanted = " or ".join(repr(name) for name in names)
        raise StreamError(f"{table} has no column {wanted} with values; {say_columns(rows)}")
    return found


def _record(
    row: Row, folder: Path, file_column: str, label_column: str, optional: Sequence[str], given: Mapping[str, str]
) -> Record:
    cells = {column: row.need(column) for column in optional}
    if "split" in cells:
        cells["split"] = _split_name(row, cells["split"])
    cells.update(given)
    split, fold, speaker = (cells.get(column, "") for column in ("split", "fold", "speaker"))
    return Record(folder / _audio_path(row, file_column), row.need(label_column), split, fold, speaker)


def _split_name(row: Row, value: str) -> str:
    name = SPLIT_NAMES.get(value.lower())
    if name is None:
        raise StreamError(f"{row.place}: {value!r} is no split; write train, validation or test")
    return name


def _audio_path(row: Row, column: str) -> PurePosixPath:
    path = row.need_path(column)
    if path.suffix.lower() not in EXTENSIONS:
        raise StreamError(f"{row.place}: '{path}' is not {FORMATS}; convert it or take the row out")
    return path


def _check_folds(records: Sequence[Record], table: str) -> None:
    """Raise a StreamError if the folds are splits, one of which would test as the last fold does."""
    folds = {r.fold.lower() for r in records}
    if folds <= SPLIT_NAMES.keys():
        raise StreamError(f"the folds of {table} are {' and '.join(sorted(folds))}; call the column split")


def _check_listed_once(listed: Sequence[Listed]) -> None:
    # One part of a recording with two labels is not refused: it is left out, as other overlaps are.
    seen: dict[object, str] = {}
    for record, place in listed:
        first = seen.setdefault(record.path if record.span is None else (record.place, record.label), place)
        if first is not place:
            raise StreamError(f"{place}: {record.path.name!r} is listed already in {first}; keep one")
