"""Writes a data set of the library `datasets` as a folder of labelled clips, which is then read as any other.

The data set is a local folder of parquet files or audio (an "audiofolder"), or has a name on the Hugging Face hub. Its
audio is not decoded here: the bytes of each clip become a file, so that the front end reads what was published.
"""

import csv
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_ast.errors import StreamError
from streams.metadata import SPLIT_NAMES
from streams.records import TAG_MARK
from streams.walk import EXTENSIONS

MARK = "hf:"
"""What the name of such a data set begins with on the command line."""

_PARTS = ("train", "validation", "test")
_GROUPS = {"speaker": "speaker", "speaker_id": "speaker", "fold": "fold"}  # columns by which a folder may be split


@dataclass(frozen=True, slots=True)
class HubDataset:
    """Which data set, and what of it.

    Attributes:
        name: a folder, or a name on the hub, "owner/name" or "owner/name:configuration".
        split: the names of the parts that train and test, "train/test", or with one between them that validates; by
            default those that the data set calls so.
        label_column: the column of the labels; by default the one that holds classes, or is called label.
    """

    name: str
    split: str | None = None
    label_column: str | None = None

    @property
    def own_name(self) -> str:
        """What a task of it is called."""
        return Path(self.name.partition(":")[0]).name


def unpack(wanted: HubDataset, base: Path) -> Path:
    """Write the data set to a folder in `base`, unless it is there already; return that folder.

    Raises:
        StreamError: `datasets` is not installed, the data set cannot be loaded, or has no such column or part.
    """
    parts = _parts(wanted)
    columns = _columns(wanted, next(iter(parts.values())))
    prints = [f"{name}={rows._fingerprint}" for name, rows in parts.items()]
    digest = hashlib.sha256(repr((wanted, columns, prints)).encode()).hexdigest()[:12]
    folder = base / "hf" / digest / wanted.own_name
    if folder.exists():
        return folder
    fresh = folder.with_name(f".{wanted.own_name}.{secrets.token_hex(4)}.tmp")
    try:
        (fresh / "clips").mkdir(parents=True)
        with (fresh / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
            names = ["file", "label", *(["split"] if len(parts) > 1 else []), *columns.groups]
            table = csv.DictWriter(file, names, extrasaction="ignore")
            table.writeheader()
            table.writerows(_rows(parts, columns, fresh))
        fresh.replace(folder)
    except OSError as error:
        if not folder.is_dir():  # another process may have been faster
            raise StreamError(
                f"{folder} cannot be written: {error.strerror}; say another place with --data-root"
            ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


@dataclass(frozen=True, slots=True)
class _Columns:
    audio: str
    label: str
    groups: Mapping[str, str]


def _parts(wanted: HubDataset) -> dict[str, Any]:
    """Return the rows of each part by "train", "validation" and "test"; one part alone is to be split."""
    try:
        import datasets
    except ImportError:
        raise StreamError(f"reading {MARK}{wanted.name} needs datasets: pip install 'cl-ast[datasets]'") from None
    name, _, configuration = (wanted.name, "", "") if Path(wanted.name).is_dir() else wanted.name.partition(":")
    try:
        with _without_torchcodec(datasets.Audio):
            found: Mapping[str, Any] = datasets.load_dataset(name, configuration or None)
    except Exception as error:  # the library raises its own errors and those of its many readers
        said = " ".join(str(error).split())
        raise StreamError(
            f"the data set {wanted.name} cannot be loaded: {type(error).__name__}: {said:.300}"
        ) from error
    if wanted.split is None:
        named = _named(found)
        return named if "train" in named and len(named) > 1 else {"train": _joined(found.values())}
    names = wanted.split.split("/")
    if not 2 <= len(names) <= 3 or len(set(names)) < len(names) or not set(names) <= set(found):
        raise StreamError(
            f"--split is two or three parts of the data set with / between them, such as train/test, not "
            f"{wanted.split!r}; {wanted.name} has {', '.join(found)}"
        )
    return {part: found[name] for part, name in zip(_PARTS if len(names) == 3 else _PARTS[::2], names, strict=True)}


def _named(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows of the parts that are called as one of our splits, by the split's name."""
    alike: dict[str, list[Any]] = {}
    for part, rows in found.items():
        if part.lower() in SPLIT_NAMES:
            alike.setdefault(SPLIT_NAMES[part.lower()], []).append(rows)
    return {split: _joined(several) for split, several in alike.items()}


def _joined(parts: Iterable[Any]) -> Any:
    import datasets

    several = list(parts)
    return several[0] if len(several) == 1 else datasets.concatenate_datasets(several)


@contextmanager
def _without_torchcodec(audio: Any) -> Iterator[None]:
    """Let `datasets` list audio files without torchcodec, which its own way imports although nothing is encoded."""

    def encode(_: object, value: Any) -> dict[str, Any]:
        if isinstance(value, str | Path):
            return {"bytes": None, "path": str(value)}
        if isinstance(value, bytes):
            return {"bytes": value, "path": None}
        return {"bytes": value.get("bytes"), "path": value.get("path")}

    before = audio.encode_example
    audio.encode_example = encode
    try:
        yield
    finally:
        audio.encode_example = before


def _columns(wanted: HubDataset, rows: Any) -> _Columns:
    import datasets

    features: Mapping[str, Any] = rows.features
    audio = [name for name, kind in features.items() if isinstance(kind, datasets.Audio)]
    if len(audio) != 1:
        raise StreamError(
            f"{wanted.name} has {len(audio)} columns of audio, and a task takes one; its columns: {', '.join(features)}"
        )
    classes = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    labels = [wanted.label_column] if wanted.label_column else classes if len(classes) == 1 else ["label"]
    if labels[0] not in features or labels[0] == audio[0]:
        raise StreamError(
            f"{wanted.name} has no column of labels called {labels[0]!r}; say which with --label-column: "
            f"{', '.join(name for name in features if name != audio[0])}"
        )
    groups: dict[str, str] = {}
    for name, group in _GROUPS.items():
        if name in features and name != labels[0]:
            groups.setdefault(group, name)
    return _Columns(audio[0], labels[0], groups)


def _rows(parts: Mapping[str, Any], columns: _Columns, folder: Path) -> Iterator[dict[str, str]]:
    """Write each clip to a file in `folder`, and yield its line of the table."""
    import datasets

    number = 0
    for part, rows in parts.items():
        kind = rows.features[columns.label]
        for row in rows.cast_column(columns.audio, datasets.Audio(decode=False)):
            file = f"clips/{number:07}{_ending(row[columns.audio]['path'])}"
            _write(row[columns.audio], folder / file)
            groups = {group: str(row[name]) for group, name in columns.groups.items()}
            yield {"file": file, "label": _label(row[columns.label], kind), "split": part, **groups}
            number += 1


def _ending(path: str | None) -> str:
    """Return the ending of a published file's name, or .wav: what a file is depends on its first bytes."""
    ending = Path(path or "").suffix.lower()
    return ending if ending in EXTENSIONS else ".wav"


def _write(audio: Mapping[str, Any], file: Path) -> None:
    if audio["bytes"] is not None:
        file.write_bytes(audio["bytes"])
        return
    try:
        os.link(audio["path"], file)
    except OSError:  # on another disk, or one without links
        shutil.copyfile(audio["path"], file)


def _label(value: Any, kind: Any) -> str:
    """Return a label's name, or those of several with the mark between them that stands between tags."""
    if isinstance(value, list | tuple):
        return TAG_MARK.join(_label(one, getattr(kind, "feature", None)) for one in value)
    return str(kind.int2str(value)) if hasattr(kind, "int2str") and isinstance(value, int) else str(value)
