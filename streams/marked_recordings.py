"""Reads a folder of recordings with label files beside them (see `streams.label_files`)."""

from collections.abc import Sequence
from pathlib import Path

from cl_ast.errors import StreamError
from streams.folder_names import meaning
from streams.folders import is_clip, walk
from streams.label_files import Marked, label_files, read_label_file
from streams.records import Listed, Record, record_in
from streams.values import nfc


def read_marked(root: Path) -> tuple[list[Listed], list[Path]] | None:
    """Return the marked parts of the recordings in a folder, and the recordings that have a label file.

    None if the folder is not labelled in this way: label files are beside fewer than half of its recordings, and beside
    none that is in no folder of its own. Recordings may be in folders, of which the split and fold folders are known.

    Raises:
        StreamError: a recording has two label files, a label file cannot be read, or it names a recording that is not
            there.
    """
    files = list(walk(root))
    tables = label_files(files)
    recordings = list(filter(is_clip, files))
    if not tables:
        return None
    by_name = {(path.parent, nfc(path.name)): path for path in recordings}
    _check_one_each(tables, root)
    found: list[tuple[Path, Marked, str]] = []
    for table, recording in tables.items():
        name = table.relative_to(root).as_posix()
        for one in read_label_file(table):
            place = f"{name} line {one.line}"
            path = by_name.get((table.parent, one.file), recording) if one.file else recording
            if path is None:
                raise StreamError(f"{place}: {one.file!r} is not beside {table.name}; put it there or take the row out")
            found.append((path, one, place))
    covered = {path for path, _, _ in found} | {path for path in tables.values() if path is not None}
    if 2 * len(covered) < len(recordings) and not any(path.parent == root for path in covered):
        return None
    records = _with_parts([Record(path, one.label, span=(one.start, one.end)) for path, one, _ in found], root)
    return [Listed(record, place) for record, (_, _, place) in zip(records, found, strict=True)], sorted(covered)


def _check_one_each(tables: dict[Path, Path | None], root: Path) -> None:
    named: dict[Path, Path] = {}
    for table, recording in tables.items():
        if recording is not None and named.setdefault(recording, table) != table:
            raise StreamError(
                f"{recording.relative_to(root).as_posix()} has two label files, {named[recording].name} and"
                f" {table.name}; keep one"
            )


def _with_parts(records: Sequence[Record], root: Path) -> list[Record]:
    """Return the records with their split or fold, if the folders in the root are splits or folds, all of them."""
    meanings = [meaning(r.path.relative_to(root).parts[0] if r.path.parent != root else "") for r in records]
    kinds = {means.kind if means.sure else "class" for means in meanings}
    if kinds not in ({"split"}, {"fold"}):
        return list(records)
    shape = "splits" if kinds == {"split"} else "folds"
    return [record_in(shape, record, means.value) for record, means in zip(records, meanings, strict=True)]
