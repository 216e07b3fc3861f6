"""Reads lists of events: what `cl-ast events` writes, tables of labels, and label files of Audacity and Raven."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from cl_ast.errors import StreamError
from cl_ast.escaping import escaped
from streams.label_files import ENDING, read_label_file
from streams.table_files import read_rows
from streams.values import nfc, seconds_of
from streams.walk import EXTENSIONS, Obstacle, walk

TABLES = (".jsonl", ".json", ".csv")
_ENDINGS = (*TABLES, ENDING)
_PATHS = ("path", "file", "file_name", "filename")
_STARTS, _ENDS = ("start", "onset"), ("end", "offset")
_LABELS, _SCORES = ("label", "event_label"), ("score_max", "score")
_MOST_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Sound:
    """What sounded from when to when, in seconds.

    Attributes:
        recording: the name of its recording, without folders and ending.
        score: how sure a program was of it; None in a reference.
    """

    recording: str
    start: float
    end: float
    label: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class EventList:
    """The events of one or several files.

    Attributes:
        sounds: the events, without those that were rejected.
        recordings: every recording that is named, also one without an event.
        is_named: whether recordings are named inside the file; a label file is named as its recording.
    """

    sounds: tuple[Sound, ...]
    recordings: frozenset[str]
    is_named: bool


def read_event_list(path: Path) -> EventList:
    """Read a file of events, or those of a folder: its JSON lines, else its JSON, CSV or label files.

    Tables (.csv, .json, .jsonl) have the columns that `cl-ast events` writes, or those of a metadata.csv: the recording
    as `path` or `file`, `start` and `end` in seconds, and `label`. Other text files (.txt) are label files.

    Raises:
        StreamError: it cannot be read, is of no such format, or two recordings in it have the same name.
    """
    files = _files(path)
    if not files:
        raise StreamError(f"{path} has no events; give a file of them ({', '.join(_ENDINGS)}), or a folder")
    found: list[tuple[str, Sound | None]] = []
    for file in files:
        found += _of_table(file) if file.suffix.lower() in TABLES else _of_labels(file)
    names: dict[str, str] = {}
    for place, _ in found:
        name = recording_name(place)
        if names.setdefault(name, place) != place:
            raise StreamError(
                f"{path}: {escaped(names[name])} and {escaped(place)} are two recordings of one name; score them apart"
            )
    sounds = tuple(sound for _, sound in found if sound is not None)
    return EventList(sounds, frozenset(names), any(file.suffix.lower() in TABLES for file in files))


def recording_name(place: str) -> str:
    """Return the name of a recording: without folders, without what a label file adds, and without its ending."""
    name = PureWindowsPath(place).name
    if name.lower().endswith(ENDING):
        name = name[: -len(ENDING)]
    stem, point, ending = name.rpartition(".")
    return nfc(stem if point and f".{ending.lower()}" in EXTENSIONS else name)


def _files(path: Path) -> list[Path]:
    """Return the file itself, or the files of a folder that have events. Raises StreamError.

    Of a folder, files of one ending are read, the first of these that is there: what `cl-ast events --out` writes has
    the same events in several formats.
    """
    if not path.is_dir():
        if path.suffix.lower() not in _ENDINGS:
            raise StreamError(f"{path} is no list of events; give {', '.join(_ENDINGS)}, or a folder of such")
        return [path]
    found: dict[str, list[Path]] = {ending: [] for ending in _ENDINGS}
    for one in walk(path):
        if isinstance(one, Obstacle):
            raise StreamError(f"{one.path} cannot be entered ({one.reason}); change its permissions")
        found.get(one.suffix.lower(), []).append(one)
    return next(filter(None, found.values()), [])


def _of_labels(path: Path) -> list[tuple[str, Sound | None]]:
    try:
        marks = read_label_file(path)
    except StreamError as error:
        raise StreamError(f"{path.parent / ''}{error}") from None
    if not marks:
        return [(path.name, None)]
    places = [one.file or path.name for one in marks]
    return [
        (place, Sound(recording_name(place), one.start, one.end, one.label, one.score))
        for place, one in zip(places, marks, strict=True)
        if one.label
    ]


def _of_table(path: Path) -> list[tuple[str, Sound | None]]:
    return [_sound(row, place) for place, row in _rows(path) if not row.get("why")]


def _sound(row: Mapping[str, Any], place: str) -> tuple[str, Sound]:
    named = next((str(row[name]) for name in _PATHS if row.get(name)), None)
    label = next((nfc(str(row[name])) for name in _LABELS if row.get(name) not in (None, "")), None)
    start, end = (_number(row, names) for names in (_STARTS, _ENDS))
    if named is None or label is None or start is None or end is None:
        raise StreamError(f"{place} is no event: it needs `path` (or `file`), `start`, `end` and `label`")
    return named, Sound(recording_name(named), start, end, label, _number(row, _SCORES))


def _number(row: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    value = next((row[name] for name in names if row.get(name) not in (None, "")), None)
    return None if value is None or isinstance(value, bool) else seconds_of(str(value))


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the rows of a table with their places. Raises StreamError."""
    if path.suffix.lower() == ".csv":
        try:
            rows = read_rows(path, path.parent)
        except StreamError as error:
            raise StreamError(f"{path.parent / ''}{error}") from None
        yield from ((row.place, row.cells) for row in rows)
        return
    text = _text(path)
    lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    try:
        if path.suffix.lower() == ".jsonl":
            values = [(f"{path} row {number}", json.loads(line)) for number, line in lines]
        else:
            whole = json.loads(text)
            listed = whole.get("events") if isinstance(whole, dict) else whole
            entries = listed if isinstance(listed, list) else [whole]
            values = [(f"{path} entry {number}", one) for number, one in enumerate(entries, 1)]
    except (ValueError, RecursionError) as error:
        raise StreamError(f"{path} is not JSON ({error}); write it again") from None
    for place, value in values:
        if not isinstance(value, dict):
            raise StreamError(f"{place} is no event: an object with `path`, `start`, `end` and `label` is needed")
        yield place, value


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise StreamError(f"{path} has more than {_MOST_BYTES:,} bytes; score fewer recordings at once")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise StreamError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8") from None
    except OSError as error:
        raise StreamError(f"{path} cannot be read ({error.strerror}); check the path") from None
