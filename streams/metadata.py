"""Reads the `audiofolder` convention: a `metadata.csv` or `metadata.jsonl` beside the clips.

The columns are `file` (or `file_name`), `label` and optionally `split`, `fold` and `speaker`. Other columns are
ignored, and so is a column that is empty in every row. See https://huggingface.co/docs/datasets/audio_dataset
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from cl_ast.errors import StreamError
from streams.records import Record, check_files_exist
from streams.table_files import Row, column_names, read_rows
from streams.walk import EXTENSIONS

NAMES = ("metadata.csv", "metadata.jsonl")
FORMATS = "wav, flac, ogg, opus, mp3, aiff, au, caf or w64"

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}
"""The name of a split for each word, in lower case, that data use for it."""


def find_metadata(folder: Path) -> Path | None:
    """Return the folder's metadata file, or None if it has none.

    Raises:
        StreamError: the folder has two.
    """
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    if len(found) > 1:
        raise StreamError(f"there are both {' and '.join(NAMES)}; keep one")
    return found[0] if found else None


def read_metadata(path: Path, root: Path, split: str = "") -> list[Record]:
    """Read the records that a metadata file lists.

    Args:
        path: the metadata file.
        root: the folder of the data; messages give paths relative to it.
        split: the split of all the records, if the name of the file's folder says so.

    Raises:
        StreamError: a needed column or cell is missing, a path leads outside, or a file is missing or is listed
            twice.
    """
    rows = read_rows(path, root)
    name = path.relative_to(root).as_posix()
    file_column = _required(rows, ("file", "file_name"), name)
    _required(rows, ("label",), name)
    optional = [column for column in ("split", "fold", "speaker") if _filled(rows, column)]
    records = [_record(row, path.parent, file_column, optional, split) for row in rows]
    _check_listed_once(records, rows)
    check_files_exist(records, root, f"correct {name} or put them there")
    return records


def _filled(rows: Sequence[Row], column: str) -> bool:
    return any(row.cells.get(column) for row in rows)


def _required(rows: Sequence[Row], names: Sequence[str], table: str) -> str:
    """Return the first of the columns that has values, or raise a StreamError."""
    found = next((name for name in names if _filled(rows, name)), None)
    if found is None:
        wanted = " or ".join(repr(name) for name in names)
        raise StreamError(f"{table} has no column {wanted} with values; it has {', '.join(column_names(rows))}")
    return found


def _record(row: Row, folder: Path, file_column: str, optional: Sequence[str], split: str) -> Record:
    cells = {column: row.need(column) for column in optional}
    if "split" in cells:
        cells["split"] = _split_name(row, cells["split"])
    if split:
        cells["split"] = split
    return Record(folder / _audio_path(row, file_column), row.need("label"), **cells)


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


def _check_listed_once(records: Sequence[Record], rows: Sequence[Row]) -> None:
    seen: dict[Path, Row] = {}
    for record, row in zip(records, rows, strict=True):
        first = seen.setdefault(record.path, row)
        if first is not row:
            raise StreamError(f"{row.place}: {record.path.name!r} is listed already in {first.place}; keep one")
