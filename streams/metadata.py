"""The `audiofolder` convention: `metadata.csv` or `metadata.jsonl` beside the clips.

Columns: `file` or `file_name`, `label`; optionally `split`, `fold`, `speaker`; others are left alone. A
column that is empty in every row counts as absent. See https://huggingface.co/docs/datasets/audio_dataset
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from cl_ast.errors import StreamError
from streams.table_files import Row, check_present, read_rows
from streams.task import Record

NAMES = ("metadata.csv", "metadata.jsonl")
EXTENSIONS = frozenset({".wav", ".flac", ".ogg", ".mp3"})
FORMATS = "wav, flac, ogg or mp3"

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}


def find_metadata(folder: Path) -> Path | None:
    """The folder's metadata file, if it has one.

    Raises:
        StreamError: it has two.
    """
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    if len(found) > 1:
        raise StreamError(f"there are both {' and '.join(NAMES)}; keep one")
    return found[0] if found else None


def read_metadata(path: Path, root: Path, split: str = "") -> list[Record]:
    """The records that a metadata file lists; `split` is the one it stands for, where folders say so.

    Raises:
        StreamError: a needed column or cell is missing, a path leads outside, a file is listed twice or not
            there.
    """
    rows = read_rows(path, root)
    name = path.relative_to(root).as_posix()
    file_column = _required(rows, ("file", "file_name"), name)
    _required(rows, ("label",), name)
    optional = [column for column in ("split", "fold", "speaker") if _filled(rows, column)]
    records = [_record(row, path.parent, file_column, optional, split) for row in rows]
    _check_twice(records, rows)
    check_present(records, root, f"correct {name} or put them there")
    return records


def _filled(rows: Sequence[Row], column: str) -> bool:
    return any(row.cells.get(column) for row in rows)


def _required(rows: Sequence[Row], names: Sequence[str], table: str) -> str:
    found = next((name for name in names if _filled(rows, name)), None)
    if found is None:
        columns = dict.fromkeys(column for row in rows for column in row.cells)
        wanted = " or ".join(repr(name) for name in names)
        raise StreamError(f"{table} has no column {wanted} with values; it has {', '.join(columns)}")
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


def _check_twice(records: Sequence[Record], rows: Sequence[Row]) -> None:
    seen: dict[Path, Row] = {}
    for record, row in zip(records, rows, strict=True):
        first = seen.setdefault(record.path, row)
        if first is not row:
            raise StreamError(f"{row.place}: {record.path.name!r} is listed already in {first.place}; keep one")
