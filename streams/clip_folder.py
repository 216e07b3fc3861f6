"""Reads a folder of labelled clips: class folders, split folders of class folders, or a metadata file.

dog/1.wav  rain/2.wav                                 each folder is a label
train/dog/1.wav  validation/…  test/…                 the same inside split folders
metadata.csv or .jsonl, at the top or in each split   see `streams.metadata`
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cl_ast.errors import StreamError
from streams.metadata import FORMATS, SPLIT_NAMES, find_metadata, read_metadata
from streams.records import Collection, Record, with_sorted_labels
from streams.walk import EXTENSIONS, Obstacle, visible, walk

OTHER_AUDIO = frozenset({".aac", ".amr", ".m4a", ".webm", ".wma"})
"""Audio formats that are not read. A class that has clips of these formats only is reported."""


def read(root: Path) -> Collection:
    """Read every labelled clip of the folder. The labels are sorted.

    Raises:
        StreamError: there is no folder or no clip, clips have no label, there is one class only, a class has
            one clip only, or the metadata do not fit (see `streams.metadata.read_metadata`).
    """
    if not root.is_dir():
        raise StreamError("is not a folder; give a folder of labelled clips")
    records = _records(root)
    if not records:
        raise StreamError(f"no clip is in the folder ({FORMATS}); give class folders or a metadata.csv")
    _check_classes(records, root)
    return with_sorted_labels(records)


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
    """Return the split folders and their splits, or nothing unless every folder with clips is a split folder.

    The name alone is not enough, because a class may be called `train` too.
    """
    folders = [folder for folder in _folders(root) if next(_audio(folder), None) is not None]
    if not all(folder.name.lower() in SPLIT_NAMES and _has_classes(folder) for folder in folders):
        return []
    return [(folder, SPLIT_NAMES[folder.name.lower()]) for folder in folders]


def _has_classes(folder: Path) -> bool:
    return find_metadata(folder) is not None or bool(_folders(folder))


def _class_folders(folder: Path, root: Path, split: str) -> list[Record]:
    unlabelled = [path for path in _files(folder) if path.suffix.lower() in EXTENSIONS]
    if unlabelled:
        raise StreamError(
            f"{unlabelled[0].relative_to(root).as_posix()} and {len(unlabelled) - 1} more clips have no label; put"
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
    """Raise a StreamError if the folder has audio of other formats, so that no class goes missing silently."""
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
            f"class {single[0]!r} has one clip only{more}, but a class needs one to train on and one to test"
            " with; add clips or leave the class out"
        )


# The functions below list folders in sorted order and skip hidden files, which systems and archives leave behind.


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if visible(path.name) and path.is_dir())


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if visible(path.name) and path.is_file())


def _walk(folder: Path) -> Iterator[Path]:
    for one in walk(folder):
        if isinstance(one, Obstacle):
            raise StreamError(f"{one.path} cannot be entered ({one.reason}); check its permissions")
        yield one


def _audio(folder: Path) -> Iterator[Path]:
    return (path for path in _walk(folder) if path.suffix.lower() in EXTENSIONS)
