"""Reads a folder of labelled clips: class folders, split or fold folders of class folders, or files with labels.

dog/1.wav  rain/2.wav                                 each folder is a label
train/dog/1.wav  validation/…  test/…                 the same inside split folders, or dog/train/1.wav
fold1/dog/1.wav  fold2/…                              the same inside fold folders
metadata.csv or .jsonl, at the top or in each split   see `streams.metadata`
site1.wav  site1.txt  site2.wav  …    recordings with label files beside them, see `streams.label_files`

docs/layouts.md says in full what is read, what is left out and what is refused.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cl_ast.errors import StreamError
from streams.excerpts import usable
from streams.folder_names import is_noise, meaning, same_but_for_a_number
from streams.folder_shape import LIST_THEM, Seen, check_classes, shape_in_classes, shape_of
from streams.folders import files_in, folders_in, holds_audio, holds_clips_itself, is_clip
from streams.left_out import LeftOut
from streams.marked_recordings import read_marked
from streams.metadata import FORMATS, find_metadata, has_metadata, read_metadata
from streams.records import Collection, Record, record_in, with_sorted_labels
from streams.tags import all_in_tags
from streams.values import in_one_spelling


def read(root: Path, *, excerpts: bool = True, tags: bool = True) -> Collection:
    """Read every labelled clip of the folder, to learn from. The labels are sorted.

    Args:
        excerpts: whether parts of recordings are read; see `streams.task.Source`.
        tags: whether clips may have several labels; see there, too.

    Raises:
        StreamError: as `read_any`; or there is one class only, or a class has one clip only.
    """
    found = read_any(root, excerpts=excerpts, tags=tags)
    _check_classes(found.records, root)
    return found


def read_any(root: Path, *, excerpts: bool = True, tags: bool = True) -> Collection:
    """Read every labelled clip of the folder, however few there are. The labels are sorted.

    Args:
        excerpts, tags: as in `read`.

    Raises:
        StreamError: there is no folder or no clip, clips have no label, folders are splits or folds without
            classes, most of a class cannot be read, or the metadata or label files do not fit (see
            `streams.metadata.read_metadata` and `streams.label_files.read_label_file`).
    """
    if not root.is_dir():
        raise StreamError("is not a folder; give a folder of labelled clips")
    reader = _Reader(root, excerpts=excerpts, tags=tags)
    read, said = all_in_tags(reader.records())
    records, changes = in_one_spelling(read)
    if not records:
        raise StreamError(
            f"no clip is in the folder ({FORMATS}); give class folders or a metadata.csv"
            + "".join(f" ({note})" for note in reader.notes())
        )
    return with_sorted_labels(records)._replace(notes=(*said, *changes, *reader.notes()))


def check_shape(root: Path) -> None:
    """Check that the folders in a folder can be read as classes, splits or folds.

    Raises:
        StreamError: they cannot. The message gives the way out.
    """
    if not has_metadata(root):
        shape_of([_seen(folder) for folder in _Reader(root, excerpts=False, tags=False).labelled(root)])


class _Reader:
    """Reads the records of one folder, and collects what is left out of it."""

    def __init__(self, root: Path, *, excerpts: bool, tags: bool) -> None:
        self._root = root
        self._excerpts = excerpts
        self._tags = tags
        self._left_out = LeftOut(root)
        self._questions: list[str] = []

    def records(self) -> list[Record]:
        """Return the records of all clips."""
        table = find_metadata(self._root)
        if table is not None:
            return self._listed(table)
        marked = self._marked()
        if marked is not None:
            return marked
        folders = self.labelled(self._root)
        shape = shape_of([_seen(folder) for folder in folders])
        if shape == "classes":
            return self._class_folders(self._root, folders)
        return [record for folder in folders for record in self._part(folder, shape == "splits")]

    def notes(self) -> tuple[str, ...]:
        """Return sentences about what is left out, and about folders that might mean something else."""
        return (*self._left_out.notes(), *self._questions)

    def labelled(self, folder: Path) -> list[Path]:
        """Return the folders with audio in a folder, except for background noise and clips without labels."""
        found = []
        for path in folders_in(folder):
            if is_noise(path.name):
                self._left_out.skip(path)
            elif not holds_audio(path):
                self._left_out.empty(path)
            elif meaning(path.name).kind == "unlabelled":
                self._left_out.skip(path)
            else:
                found.append(path)
        return found

    def _part(self, folder: Path, is_split: bool) -> list[Record]:
        """Return the records of a split folder or a fold folder."""
        value = meaning(folder.name).value
        split, fold = (value, "") if is_split else ("", value)
        table = find_metadata(folder)
        if table is not None:
            return self._listed(table, split, fold)
        classes = self.labelled(folder)
        check_classes(folder.name, [_seen(path) for path in classes])
        return self._class_folders(folder, classes, split, fold)

    def _listed(self, table: Path, split: str = "", fold: str = "") -> list[Record]:
        listed = read_metadata(table, self._root, split, fold, excerpts=self._excerpts, tags=self._tags)
        paths = [one.record.path for one in listed]
        self._left_out.unlisted(table.parent, paths, f"{table.relative_to(self._root).as_posix()} does not list")
        if any(one.record.span for one in listed):
            return usable(listed, self._left_out)
        return [one.record for one in listed]

    def _marked(self) -> list[Record] | None:
        """Return the parts of recordings that label files mark, or None if the folder is not labelled by such files."""
        found = read_marked(self._root) if self._excerpts else None
        if found is None:
            return None
        listed, recordings = found
        self._left_out.unlisted(self._root, recordings, "no label file marks")
        return usable(listed, self._left_out)

    def _class_folders(self, folder: Path, classes: Sequence[Path], split: str = "", fold: str = "") -> list[Record]:
        self._check_loose(folder)
        inner = {path: [] if holds_clips_itself(path) else self._with_clips(path) for path in classes}
        shape = "classes" if split or fold else shape_in_classes([list(map(_seen, paths)) for paths in inner.values()])
        if shape == "classes":
            self._ask(classes, inner)
            return [
                Record(clip, path.name, split=split, fold=fold)
                for path in classes
                for clip in self._left_out.clips(path)
            ]
        self._say_what_is_beside(inner, LIST_THEM + shape.removesuffix("s"))
        return [
            record_in(shape, Record(clip, path.name), meaning(part.name).value)
            for path in classes
            for part in inner[path]
            for clip in self._left_out.clips(part)
        ]

    def _say_what_is_beside(self, inner: dict[Path, list[Path]], advice: str) -> None:
        """Remember what is beside the splits or folds in class folders, and class folders inside those."""
        for path, parts in inner.items():
            self._left_out.formats(path, files_in(path))
            for folder in filter(lambda folder: is_noise(folder.name), folders_in(path)):
                self._left_out.skip(folder)
            for part in parts:
                if self._with_clips(part) and not self._questions:
                    self._questions.append(
                        f"{path.name} is taken as a class, and the folders in {path.name}/{part.name} are not; if they"
                        f" are the classes, {advice}"
                    )

    def _with_clips(self, folder: Path) -> list[Path]:
        return [path for path in folders_in(folder) if not is_noise(path.name) and holds_audio(path)]

    def _check_loose(self, folder: Path) -> None:
        """Raise a StreamError if clips are beside the class folders, where they have no label."""
        files = files_in(folder)
        self._left_out.formats(folder, files)
        loose = list(filter(is_clip, files))
        if loose:
            raise StreamError(
                f"{loose[0].relative_to(self._root).as_posix()} and {len(loose) - 1} more clips have no label; put"
                " each into the folder of its class, or list it in a metadata.csv with the columns file and"
                " label"
            )

    def _ask(self, classes: Sequence[Path], inner: dict[Path, list[Path]]) -> None:
        """Remember a question if the folders may be speakers, places or the like, and not classes."""
        names = [path.name for path in classes]
        if len(names) > 2 and same_but_for_a_number(names):
            self._questions.append(
                f"{names[0]} … {names[-1]} are taken as {len(names)} classes; if they are speakers or parts, list the"
                " clips in a metadata.csv with the columns file, label and speaker or fold"
            )
        inside = [tuple(path.name for path in paths) for paths in inner.values()]
        if len(inside) > 1 and len(set(inside)) == 1 and len(inside[0]) > 1:
            self._questions.append(
                f"every class holds the folders {', '.join(inside[0][:4])}; if those are the classes, list the clips in"
                " a metadata.csv"
            )


def _seen(folder: Path) -> Seen:
    return Seen(folder.name, has_metadata(folder) or any(map(holds_audio, folders_in(folder))))


def _check_classes(records: list[Record], root: Path) -> None:
    counts = Counter(label for r in records for label in r.labels)
    if len(counts) < 2:
        (label,) = counts
        raise StreamError(f"all clips are of one class, {label!r}{_hint(root / label)}")
    single = sorted(label for label, n in counts.items() if n == 1)
    if single:
        more = f" (and {len(single) - 1} more classes like it)" if len(single) > 1 else ""
        raise StreamError(
            f"class {single[0]!r} has one clip only{more}, but a class needs one to train on and one to test"
            " with; add clips or leave the class out"
        )


def _hint(folder: Path) -> str:
    """Return what to do about a folder that is the only class: give it instead, if the folders in it can be read."""
    inside = [_seen(path) for path in folders_in(folder) if holds_audio(path)] if folder.is_dir() else []
    try:
        shape = shape_of(inside)
    except StreamError as error:
        return f", whose folders cannot be the classes: {error}"
    if len(inside) < 2:
        return "; give two or more"
    what = "its folders are the classes" if shape == "classes" else f"it holds the {shape}"
    return f"; if {what}, give {folder}"
