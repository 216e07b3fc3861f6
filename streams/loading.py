"""`load`: a word or a folder to a task."""

from collections import Counter
from pathlib import Path

from cl_ast.errors import StreamError
from streams import clip_folder
from streams.catalog import DATASETS, DataSet, Progress
from streams.choose_split import divide
from streams.durations import typical_seconds
from streams.find_data import FOLDER, check_complete, find
from streams.split import keep_few
from streams.task import Clip, Record, Source, Task, check_options


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
    download: bool = False,
    progress: Progress | None = None,
) -> Task:
    """A published data set by its word, or a folder of labelled clips by its path.

    Args:
        task: one of `DATASETS`, or a folder (also one in `data_root`).
        data: where that data set is; the folder its archive unpacks to, or the one around it.
        data_root: where data sets are, each in a folder of its own; by default the user's data folder.
        name: what to call the task; by default the word, or the folder's own name.
        fold: the fold that tests; by default the last.
        few_shot: keep that many clips a class to train on.
        max_seconds: cut clips to at most this.
        seed: of every draw.
        split_by: for folders: `auto` (see `streams.choose_split`), `split`, `fold`, `speaker` or `random`.
        download: fetch the data set if it is not there and is free.
        progress: told how far a download is.

    Raises:
        StreamError: there is no such task, its data are missing, incomplete or unusable, or the options do
            not fit.
    """
    check_options(few_shot, max_seconds)
    key, root = find(task, data, data_root, download, progress)
    return reload(
        Source(
            task=key,
            data=str(root),
            name=name or (_own_name(Path(task), root) if key == FOLDER else key),
            fold=None if fold is None else str(fold).strip(),
            few_shot=few_shot,
            max_seconds=None if max_seconds is None else float(max_seconds),
            seed=seed,
            split_by=split_by,
        )
    )


def reload(source: Source) -> Task:
    """The task of an earlier `load`, from the data as they are now.

    Raises:
        StreamError: as `load`.
    """
    root = Path(source.data)
    if source.task != FOLDER and source.task not in DATASETS:
        raise StreamError(f"{source.task!r} is no known data set; known are {', '.join(DATASETS)}")
    try:
        return _task(source, root, DATASETS.get(source.task))
    except StreamError as error:
        raise StreamError(f"{root}: {error}") from None
    except OSError as error:
        raise StreamError(
            f"{error.filename or root}: cannot be read ({error.strerror}); check its permissions"
        ) from None


def _task(source: Source, root: Path, dataset: DataSet | None) -> Task:
    if dataset is None:
        collection = clip_folder.read(root)
        splits, protocol = divide(collection.records, fold=source.fold, split_by=source.split_by, seed=source.seed)
        seconds = typical_seconds(splits.train, source.seed)
    else:
        if source.split_by != "auto":
            raise StreamError(f"{dataset.title} keeps its published split; split_by is for folders of clips")
        check_complete(dataset, root)
        collection = dataset.read(root)
        splits, protocol = divide(
            collection.records,
            fold=source.fold,
            split_by="auto",
            seed=source.seed,
            validates=dataset.validates,
        )
        seconds = dataset.clip_seconds
    _check_listed_once(collection.records, root)
    if source.few_shot is not None:
        splits = splits._replace(train=keep_few(splits.train, source.few_shot, source.seed))
        protocol += f"; {source.few_shot} clips a class train (seed {source.seed})"
    trained = {r.label for r in splits.train}
    labels = tuple(label for label in collection.labels if label in trained)
    if len(labels) < 2:
        raise StreamError("fewer than two classes have clips to train on; give more, or choose another split")
    return Task(
        name=source.name,
        labels=labels,
        train=_clips(splits.train),
        validation=_clips(splits.validation),
        test=_clips(splits.test),
        clip_seconds=seconds if source.max_seconds is None else min(seconds, source.max_seconds),
        protocol=protocol,
        source=source,
    )


def _own_name(given: Path, root: Path) -> str:
    """The name as it was written, also that of a link; `.` and `..` have none of their own."""
    return root.name if given.name in ("", "..") else given.name


def _clips(records: list[Record]) -> tuple[Clip, ...]:
    return tuple(Clip(r.path, r.label) for r in records)


def _check_listed_once(records: list[Record], root: Path) -> None:
    path, n = Counter(r.path for r in records).most_common(1)[0]
    if n > 1:
        raise StreamError(f"{path.relative_to(root).as_posix()} is listed {n} times; keep one")
