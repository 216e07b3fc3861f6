"""Loads a task from the name of a data set or from a folder, and loads it again later."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cl_ast.errors import StreamError
from cl_ast.escaping import refused_in_label
from cl_ast.excerpts import in_folder
from streams import clip_folder, split
from streams.catalog import DATASETS, DataSet, Progress
from streams.choose_split import choose_split
from streams.durations import typical_seconds
from streams.find_data import FOLDER, check_complete, clips_look_like, find_data, published_at
from streams.hub_dataset import MARK
from streams.metadata import has_metadata
from streams.records import Collection, Record, Splits
from streams.split import keep_per_class
from streams.task import BY_NAME, Clip, Source, Task, check_options


def load(
    task: str | Path,
    *,
    data: str | Path | None = None,
    data_root: str | Path | None = None,
    name: str | None = None,
    fold: str | int | None = None,
    few_shot: int | None = None,
    max_seconds: float | None = None,
    seed: int = 0,
    split_by: str = "auto",
    split: str | None = None,
    label_column: str | None = None,
    download: bool = False,
    progress: Progress | None = None,
) -> Task:
    """Load a published data set by its name, or a folder of labelled clips by its path.

    Args:
        task: one of `DATASETS`; a folder, which may also be in `data_root`; or "hf:NAME" for a data set of the library
            `datasets`, a folder or a name on the Hugging Face hub, whose clips become files in `data_root`.
        data: where that data set is: the folder that its archive unpacks to, or the folder around it.
        data_root: where all data sets are, each in a folder of its own; by default the user's data folder.
        name: what to call the task; by default the name of the data set or folder.
        fold: the fold that tests; by default the last one.
        few_shot: the number of training clips to keep per class; by default all.
        max_seconds: the longest that a clip may be, in seconds; longer clips are cut.
        seed: the seed of every random draw.
        split_by: how to split a folder: `auto` (see `streams.choose_split`), `split`, `fold`, `speaker` or
            `random`.
        split: the parts of a data set "hf:NAME" that train and test, see `streams.hub_dataset.HubDataset`.
        label_column: the column of the labels of such a data set.
        download: whether to download the data set if it is not there and is free.
        progress: called during a download with the bytes so far and the bytes in all, None if unknown.

    Raises:
        StreamError: there is no such task, its data are missing, incomplete or unusable, or the options do not
            fit.
    """
    check_options(few_shot, max_seconds)
    key, root = find_data(task, data, data_root, download, progress, split, label_column)
    loaded = reload(
        Source(
            task=key,
            data=str(root),
            name=name or (_own_name(task, root) if key == FOLDER else key),
            fold=None if fold is None else str(fold).strip(),
            few_shot=few_shot,
            max_seconds=None if max_seconds is None else float(max_seconds),
            seed=seed,
            split_by=split_by,
            draw=BY_NAME,
            excerpts=key == FOLDER,
            tags=key == FOLDER or DATASETS[key].tags,
        )
    )
    _check_labels(loaded)
    excerpts, tags = any(clip.span for clip in loaded.train), any(clip.tags for clip in loaded.train)
    return replace(loaded, source=replace(loaded.source, excerpts=excerpts, tags=tags))


def reload(source: Source) -> Task:
    """Load the task of an earlier `load` again, from the data as they are now.

    Raises:
        StreamError: the data are missing, incomplete or unusable, or the options do not fit.
    """
    with _named(source):
        return _task(source)


def few_shot(task: Task, k: int, seed: int | None) -> Task:
    """Return a task with k of its training clips per class; all else stays as it is.

    Args:
        seed: draws the clips, as `load` does with `few_shot`; None takes the first ones by their paths.

    Raises:
        StreamError: a class has fewer than k clips to train on.
    """
    check_options(k, None)
    records = [Record(clip.path, clip.label, span=clip.span, tags=clip.tags) for clip in task.train]
    return replace(task, train=_clips(keep_per_class(records, k, seed)))


def folds(task: Task) -> list[str]:
    """Return the names of the data's folds, in their natural order; none where the data have no folds.

    Raises:
        StreamError: the data are missing or unusable.
    """
    records = read_records(task.source).records
    return split.fold_names(records) if any(record.fold for record in records) else []


def read_records(source: Source) -> Collection:
    """Read all records of the data as they are now, before they are split.

    Raises:
        StreamError: the data are missing, incomplete or unusable.
    """
    with _named(source):
        root = Path(source.data)
        dataset = DATASETS.get(source.task)
        if dataset is None:
            return _own_clips(source, root)
        check_complete(dataset, root)
        return dataset.read(root)


def task_of(
    source: Source, labels: tuple[str, ...], splits: Splits, protocol: str, notes: tuple[str, ...] = ()
) -> Task:
    """Put a task together from splits that were decided elsewhere."""
    dataset = DATASETS.get(source.task)
    seconds = typical_seconds(splits.train, source.seed) if dataset is None else dataset.clip_seconds
    return Task(
        name=source.name,
        labels=labels,
        train=_clips(splits.train),
        validation=_clips(splits.validation),
        test=_clips(splits.test),
        clip_seconds=seconds if source.max_seconds is None else min(seconds, source.max_seconds),
        protocol=protocol,
        source=source,
        notes=notes,
    )


@contextmanager
def _named(source: Source) -> Iterator[None]:
    """Name the data in every error inside the block."""
    if source.task != FOLDER and source.task not in DATASETS:
        raise StreamError(f"{source.task!r} is no known data set; known are {', '.join(DATASETS)}")
    try:
        yield
    except StreamError as error:
        raise StreamError(f"{source.data}: {error}") from None
    except OSError as error:
        place = error.filename or source.data
        raise StreamError(f"{place}: cannot be read ({error.strerror}); check its permissions") from None


def _task(source: Source) -> Task:
    root, dataset = Path(source.data), DATASETS.get(source.task)
    if dataset is None:
        collection, splits, protocol = _read_folder(source, root)
    else:
        collection, splits, protocol = _read_dataset(source, root, dataset)
    _check_listed_once(collection.records, root)
    if source.few_shot is not None:
        splits = splits._replace(train=keep_per_class(splits.train, source.few_shot, source.seed))
        protocol += f"; {source.few_shot} training clips per class (seed {source.seed})"
    _check_text(collection.labels)
    trained = {label for r in splits.train for label in r.labels}
    labels = tuple(label for label in collection.labels if label in trained)
    if len(labels) < 2:
        raise StreamError("fewer than two classes have clips to train on; give more, or choose another split")
    return task_of(source, labels, splits, protocol, collection.notes)


def _read_folder(source: Source, root: Path) -> tuple[Collection, Splits, str]:
    collection = _own_clips(source, root)
    by_name_in = root if source.draw == BY_NAME else None
    splits, protocol = choose_split(
        collection.records, fold=source.fold, split_by=source.split_by, seed=source.seed, by_name_in=by_name_in
    )
    return collection, splits, protocol


def _own_clips(source: Source, root: Path) -> Collection:
    """Read a folder of labelled clips, and say so if it is a published data set, which is read by its name.

    Raises:
        StreamError: it cannot be read, or the folders of the data set are no classes.
    """
    own = root.is_dir() and has_metadata(root)
    published = None if own else published_at(root)
    if published is not None:
        dataset, place = published
        way = f"its own labels and splits are used with the task {dataset.name} and --data {place}"
        if dataset.holds:
            raise StreamError(f"this looks like {dataset.title}, whose folders are no classes; {way}")
        collection = clip_folder.read(root, excerpts=source.excerpts, tags=source.tags)
        return collection._replace(notes=(*collection.notes, f"this looks like {dataset.title}; {way}"))
    try:
        return clip_folder.read(root, excerpts=source.excerpts, tags=source.tags)
    except StreamError as error:
        alike = None if own or not root.is_dir() else clips_look_like(root)
        if alike is None:
            raise
        raise StreamError(
            f"{error}; if this is {alike.title}, give the task {alike.name}, and --data with its whole folder"
        ) from None


def _read_dataset(source: Source, root: Path, dataset: DataSet) -> tuple[Collection, Splits, str]:
    if source.split_by != "auto":
        raise StreamError(f"{dataset.title} keeps its published split; split_by is for folders of clips")
    check_complete(dataset, root)
    collection = dataset.read(root)
    splits, protocol = choose_split(
        collection.records, fold=source.fold, split_by="auto", seed=source.seed, validates=dataset.validates
    )
    return collection, splits, protocol


def _own_name(given: str | Path, root: Path) -> str:
    """Return the folder's name as it was given, so that a link keeps its name. `.` and `..` give the real name."""
    name = Path(given).name
    return root.name if name in ("", "..") or str(given).startswith(MARK) else name


def _clips(records: list[Record]) -> tuple[Clip, ...]:
    return tuple(map(Clip.of, records))


def _check_text(labels: tuple[str, ...]) -> None:
    for label in labels:
        try:
            label.encode()
        except UnicodeEncodeError:
            raise StreamError(
                f"the class {label!r} is not text in UTF-8; rename its folder, or write it again"
            ) from None


def _check_labels(task: Task) -> None:
    """Raise a StreamError for a label with control or format characters.

    This is for new tasks only: a task that an older release has learned with such a label can be loaded again.
    """
    for label in task.labels:
        refused = refused_in_label(label)
        if refused:
            where = next(clip.path for clip in task.train if label in clip.labels).relative_to(task.source.data)
            raise StreamError(
                f"{task.source.data}: the class {label!r:.200} (of {str(where)!r:.200}) has {refused}, but a label has"
                " no control or format characters; rename its folder, or write it again"
            )


def _check_listed_once(records: list[Record], root: Path) -> None:
    place, n = Counter(r.place for r in records).most_common(1)[0]
    if n > 1:
        raise StreamError(f"{in_folder(place, root)} is listed {n} times; keep one")
