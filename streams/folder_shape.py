"""Decides whether folders are classes, splits or folds. These functions touch no file.

A folder is never taken for a class if its name is a split's or a fold's. Where the folders are clearly splits, or
folds that hold class folders, they are used as such. Otherwise an error says what to do.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from cl_ast.errors import StreamError
from streams.folder_names import Meaning, may_be_a_class, meaning, says_fold, says_session

Shape = Literal["classes", "splits", "folds"]

LIST_THEM = "list the clips in a metadata.csv with the columns file, label and "


class Seen(NamedTuple):
    """A folder with clips.

    Attributes:
        name: its name.
        has_classes: whether it holds folders with clips, or a metadata file.
    """

    name: str
    has_classes: bool


def shape_of(folders: Sequence[Seen]) -> Shape:
    """Return what the folders are.

    Raises:
        StreamError: some are splits or folds and others are not, or folds hold no class folders.
    """
    meanings = [meaning(folder.name) for folder in folders]
    both = [folder for folder, means in zip(folders, meanings, strict=True) if means.kind == "both"]
    if both:
        raise StreamError(f"{_names(both)} name splits of folds, not classes; {LIST_THEM}split or fold")
    if folders and _are_splits(folders, meanings):
        return "splits"
    if folders and _are_folds(meanings):
        _check_folds(folders)
        return "folds"
    splits, folds = _no_classes(folders, meanings)
    if splits:
        others = [folder for folder in folders if folder not in splits]
        raise StreamError(
            f"{_names(splits)} name splits, but {_names(others)} beside them do not; put every class folder into a"
            f" split (train/dog, test/dog), or {LIST_THEM}split"
        )
    if folds:
        raise StreamError(
            f"{_names(folds)} name folds or parts of a data set, not classes, and the folders beside them do not;"
            f" {LIST_THEM}fold"
        )
    return "classes"


def check_classes(folder: str, classes: Sequence[Seen]) -> None:
    """Check that the folders in a split or a fold are classes.

    Raises:
        StreamError: they are splits or folds. The message gives the way out.
    """
    if len(classes) == 1 and may_be_a_class(classes[0].name) and not classes[0].has_classes:
        return
    shape = shape_of(classes)
    if shape != "classes":
        column = "split" if shape == "splits" else "fold"
        raise StreamError(f"{folder} holds the {shape} {_names(classes)}, not classes; {LIST_THEM}{column}")


def shape_in_classes(classes: Sequence[Sequence[Seen]]) -> Shape:
    """Return whether all classes hold nothing but split folders (`dog/train`), or fold folders (`dog/fold1`).

    Args:
        classes: for every class the folders with clips in it, or nothing if it has clips beside them.
    """
    try:
        shapes = {_shape_in_class(folders) for folders in classes}
    except StreamError:
        return "classes"
    found = {meaning(folder.name).value for folders in classes for folder in folders}
    return shapes.pop() if len(shapes) == 1 and len(found) > 1 else "classes"


def _shape_in_class(folders: Sequence[Seen]) -> Shape:
    meanings = [meaning(folder.name) for folder in folders]
    if folders and _are_splits(folders, meanings):
        return "splits"
    # Parts and sessions in a class are left alone: recordings are often sorted so, and mean no folds by it.
    return "folds" if folders and _are_folds(meanings) and all(map(says_fold, meanings)) else "classes"


def _are_splits(folders: Sequence[Seen], meanings: Sequence[Meaning]) -> bool:
    if any(means.kind != "split" for means in meanings):
        return False
    # `tr` and `te` may be Turkish and Telugu, and are splits only if they hold class folders.
    if any(means.short and not folder.has_classes for folder, means in zip(folders, meanings, strict=True)):
        return False
    # `train_horn` and `train_whistle` may be classes, but `my_train` and `my_test` are not.
    certain = all(means.sure and not means.short for means in meanings)
    return certain or len({means.value for means in meanings}) > 1


def _are_folds(meanings: Sequence[Meaning]) -> bool:
    if any(means.kind != "fold" for means in meanings) or len({means.words for means in meanings}) > 1:
        return False
    return meanings[0].sure or len({means.value for means in meanings}) == len(meanings) > 1


def _check_folds(folders: Sequence[Seen]) -> None:
    flat = [folder for folder in folders if not folder.has_classes]
    if not flat:
        return
    raise StreamError(
        f"{_names(folders)} name folds or parts of a data set, not classes, and {flat[0].name} holds no class folders;"
        f" make some ({flat[0].name}/dog), or {LIST_THEM}fold (UrbanSound8K and IEMOCAP are the tasks us8k and iemocap,"
        " with --data DIR)"
    )


def _no_classes(folders: Sequence[Seen], meanings: Sequence[Meaning]) -> tuple[list[Seen], list[Seen]]:
    """Return the splits and the folds among folders that are something else beside."""
    named = list(zip(folders, meanings, strict=True))
    splits = [folder for folder, means in named if means.kind == "split" and means.sure and not means.short]
    if len(splits) == 1 and may_be_a_class(splits[0].name) and not splits[0].has_classes:
        splits = []  # It is the vehicle, beside `bus` or `tram`.
    folds = [(folder, means) for folder, means in named if means.kind == "fold" and means.sure]
    if len(folds) == 1 and not (says_fold(folds[0][1]) or says_session(folds[0][1])):
        folds = []  # A single `set 1` or `part b` among other names may be a class.
    return splits, [folder for folder, _ in folds]


def _names(folders: Sequence[Seen]) -> str:
    names = [folder.name for folder in folders]
    return ", ".join(names if len(names) <= 4 else [*names[:2], "…", names[-1]])
