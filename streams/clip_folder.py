"""A folder of labelled clips: class folders, split folders of class folders, or a metadata file.

dog/1.wav  rain/2.wav                                 the folder is the label
train/dog/1.wav  validation/…  test/…                 the same under split folders
metadata.csv or .jsonl, at the top or in each split   see `streams.metadata`
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cl_ast.errors import StreamError
from streams.metadata import EXTENSIONS, FORMATS, SPLIT_NAMES, find_metadata, read_metadata
from streams.table_files import sorted_labels
from streams.task import Collection, Record

OTHER_AUDIO = frozenset({".aac", ".aif", ".aiff", ".amr", ".au", ".caf", ".m4a", ".oga", ".opus", ".webm", ".wma"})


def read(root: Path) -> Collection:
    """Every labelled clip of the folder, and the labels, sorted.

    Raises:
        StreamError: no folder, no clips, clips without a label, one class only, a class with one clip only,
            or metadata that do not fit (see `streams.metadata.read_metadata`).
    """
    if not root.is_dir():
        raise StreamError("is not a folder; give a folder of labelled clips")
    records = _records(root)
    if not records:
        raise StreamError(f"no clip is in the folder ({FORMATS}); give class folders or a metadata.csv")
    _check_classes(records, root)
    return sorted_labels(records)


def _records(root: Path) -> list[Record]:
    table = find_metadata(root)
    if table is not None:
        return read_metadata(table, root)
    folders = _split_folders(root)
    if not folders:
        return _class_folders(root, root, "")
    records = []
    for folder, split in folders:
        table = find_metadata(folder)
        records += _class_folders(folder, root, split) if table is None else read_metadata(table, root, split)
    return records


def _split_folders(root: Path) -> list[tuple[Path, str]]:
    """The folders that name a split, if every folder with clips does; a class may well be called `train`."""
    folders = [folder for folder in _folders(root) if next(_audio(folder), None) is not None]
    if not all(folder.name.lower() in SPLIT_NAMES and _holds_classes(folder) for folder in folders):
        return []
    return [(folder, SPLIT_NAMES[folder.name.lower()]) for folder in folders]


def _holds_classes(folder: Path) -> bool:
    return find_metadata(folder) is not None or bool(_folders(folder))


def _class_folders(folder: Path, root: Path, split: str) -> list[Record]:
    loose = [path for path in _files(folder) if path.suffix.lower() in EXTENSIONS]
    if loose:
        raise StreamError(
            f"{loose[0].relative_to(root).as_posix()} and {len(loose) - 1} more clips have no label; put"
            " each into the folder of its class, or list it in a metadata.csv with the columns file and"
            " label"
        )
    records: list[Record] = []
    for label in _folders(folder):
        clips = list(_audio(label))
        if not clips:
            _check_formats(label, root)
        records += [Record(clip, label.name, split=split) for clip in clips]
    return records


def _check_formats(folder: Path, root: Path) -> None:
    """A class that silently went missing is worse than an error."""
    for path in _walk(folder):
        if path.suffix.lower() in OTHER_AUDIO:
            raise StreamError(
                f"{path.relative_to(root).as_posix()} is not {FORMATS}; convert the clips of {folder.name!r}"
            )


def _check_classes(records: list[Record], root: Path) -> None:
    counts = Counter(r.label for r in records)
    if len(counts) < 2:
        (label,) = counts
        nested = [folder.name for folder in _folders(root / label)] if (root / label).is_dir() else []
        hint = f"; if its folders are the classes, give {root / label}" if len(nested) > 1 else "; give two or more"
        raise StreamError(f"all clips are of one class, {label!r}{hint}")
    single = sorted(label for label, n in counts.items() if n == 1)
    if single:
        more = f" (and {len(single) - 1} more classes like it)" if len(single) > 1 else ""
        raise StreamError(
            f"class {single[0]!r} has one clip only{more}, and one to train on and one to test with are"
            " needed; add clips or leave the class out"
        )


# --- what is in a folder, always sorted, without what systems and archives leave behind


def _visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _visible(path.name) and path.is_dir())


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _visible(path.name) and path.is_file())


def _walk(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(filter(_visible, folders))
        yield from (Path(parent, name) for name in sorted(filter(_visible, files)))


def _audio(folder: Path) -> Iterator[Path]:
    return (path for path in _walk(folder) if path.suffix.lower() in EXTENSIONS)
