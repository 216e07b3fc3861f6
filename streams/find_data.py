"""Finds the data of a task: a published data set, which may be downloaded, a folder of clips, or one of `datasets`."""

import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from cl_ast.errors import StreamError
from streams import clip_folder
from streams.catalog import DATASETS, DataSet, Progress
from streams.folders import is_clip, walk
from streams.hub_dataset import MARK, HubDataset, unpack

FOLDER = "folder"
"""The key of every task that is a folder of labelled clips."""


def find_data(
    task: str | Path,
    data: str | Path | None,
    data_root: str | Path | None,
    download: bool,
    progress: Progress | None,
    split: str | None = None,
    label_column: str | None = None,
) -> tuple[str, Path]:
    """Return the task's key and the absolute path of its data. The arguments are those of `streams.load`.

    The key is the name of a data set, or `FOLDER`. A data set that is not there is downloaded if `download` says
    so.

    Raises:
        StreamError: the task is neither a data set nor a folder, or the data set cannot be found.
    """
    word = str(task)
    if word.startswith(MARK):
        wanted = HubDataset(word.removeprefix(MARK), split, label_column)
        return FOLDER, unpack(wanted, _user_folder() if data_root is None else _path(data_root)).resolve()
    if split is not None or label_column is not None:
        raise StreamError(f"--split and --label-column are for data sets such as {MARK}owner/name, not {word!r}")
    if isinstance(task, str) and word in DATASETS:
        dataset = DATASETS[word]
        return dataset.name, _find_dataset(dataset, data, data_root, download, progress)
    places = [_path(word)] if word else []
    if data_root is not None and word:
        places.append(_path(data_root) / word)
    for place in places:
        if _safely(Path.is_dir, place):
            if data is not None:
                raise StreamError(f"{place} is a folder of clips already; --data is for {', '.join(DATASETS)}")
            return FOLDER, place.resolve()
    for place in places:
        if _safely(Path.exists, place):
            raise StreamError(f"{place} is not a folder; give a folder of labelled clips")
    raise StreamError(
        f"{word!r} is neither a data set nor a folder; give one of {', '.join(DATASETS)}, or the path of a"
        " folder of labelled clips that exists"
    )


def _find_dataset(
    dataset: DataSet,
    data: str | Path | None,
    data_root: str | Path | None,
    download: bool,
    progress: Progress | None,
) -> Path:
    given = data if data is not None else data_root
    base = _path(given) if given is not None else _user_folder()
    places = [base / folder for folder in (dataset.name, *dataset.folders)]
    if data is not None:
        places.insert(0, base)
    for place in places:
        if _safely(Path.exists, place / dataset.needs[0]):
            return place.resolve()
    if download and dataset.archive is not None:
        from streams.download import install  # Imported here, because most tasks need no download.

        return install(dataset, base, progress).resolve()
    raise StreamError(_not_found(dataset, places))


def _not_found(dataset: DataSet, places: list[Path]) -> str:
    """Return the message for a data set that is in none of the places."""
    there = [place for place in places if _safely(Path.is_dir, place)]
    found = f" ({there[0]} is there, but not {dataset.needs[0]} in it)" if there else ""
    looked = ", ".join(str(place / dataset.needs[0]) for place in places)
    free = ", or add --download" if dataset.downloadable else ""
    own = [place for place in (there[:1] or [Path(dataset.name)]) if _holds_own_classes(place)]
    hint = "; for a folder of your own clips, give its path as the task" if own else ""
    return (
        f"{dataset.title} is not there: looked for {looked}{found}; get it from {dataset.page}"
        f" ({dataset.licence}) and say where it is with --data DIR, or where all data sets are with --data-root DIR"
        f"{free}{hint}"
    )


def _holds_own_classes(place: Path) -> bool:
    """Return whether the folder could be read as a folder of clips, and is not a data set half unpacked."""
    if not _safely(Path.is_dir, place):
        return False
    try:
        clip_folder.check_shape(place)
        return clips_look_like(place) is None
    except (StreamError, OSError):
        return False


def published_at(folder: Path) -> tuple[DataSet, Path] | None:
    """Return the published data set that the folder is, or is a part of, and where that is, or None."""
    for place in (folder, *folder.parents[:4]):
        inside = folder.relative_to(place).parts
        for dataset in DATASETS.values():
            is_there = [_safely(Path.exists, place / name) for name in (dataset.needs[0], *dataset.holds[:1])]
            if all(is_there) and (not inside or inside[0] in dataset.holds):
                return dataset, place
    return None


def clips_look_like(folder: Path) -> DataSet | None:
    """Return the published data set whose clips have such names as those in the folder, or None."""
    names = [path.name for path in islice(filter(is_clip, walk(folder)), 20)]
    for dataset in DATASETS.values():
        if names and all(re.fullmatch(dataset.clip_name, name) for name in names):
            return dataset
    return None


def check_complete(dataset: DataSet, root: Path) -> None:
    """Check that a data set has all the files and folders it needs.

    Raises:
        StreamError: one is missing. The message names it and says where to get the data.
    """
    for need in dataset.needs:
        if not (root / need).exists():
            raise StreamError(
                f"there is no {need}: {dataset.title} is missing or half unpacked; unpack the whole archive again"
                f" (from {dataset.page}), or say where the data are with --data or --data-root"
            )


def _safely(test: Callable[[Path], bool], place: Path) -> bool:
    """Return the test's answer, or False for a place that cannot be a path (a name too long) or is not accessible."""
    try:
        return test(place)
    except OSError:
        return False


def _path(given: str | Path) -> Path:
    try:
        return Path(given).expanduser()
    except RuntimeError:  # There is no user of that name, so `~name` is taken as the name of a file.
        return Path(given)


def _user_folder() -> Path:
    from platformdirs import user_data_path

    return user_data_path("cl-ast") / "datasets"
