"""Reads label files: what sounds from when to when in a recording, as Audacity and Raven write it.

    1.250000⇥2.500000⇥dog                 Audacity: start, end, label; a line that begins with a backslash, which
                                          has frequencies, is ignored
    Begin Time (s)⇥End Time (s)⇥Species   Raven: a table with names of columns; of several recordings with
    1.25⇥2.5⇥dog                          `Begin Path` or `Begin File`, and `File Offset (s)`

A label file is a .txt whose name begins as that of a recording beside it: `site1.txt`, `site1.Table.1.selections.txt`.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from cl_ast.errors import StreamError
from streams.folders import is_clip
from streams.values import clean, nfc, seconds_of

ENDING = ".txt"
BEGIN, END, OFFSET = "begin time (s)", "end time (s)", "file offset (s)"
CONFIDENCE = "confidence"
_FILES = {"begin path", "begin file"}
LABELS = ("label", "annotation", "species", "common name", "class", "tag", "code", "species code", "call type")
"""The columns of a Raven table, in lower case, that have a label; the first that is filled counts."""

# What `cl-ast events --format audacity` writes: task, label and score.
_WRITTEN = re.compile(r"[^:\s]+: (.+) ([01]\.\d\d)")
_MOST_BYTES = 2**26
_FIRST = 2**12  # bytes that tell whether a text is a label file


class Marked(NamedTuple):
    """What a line of a label file says.

    Attributes:
        start, end: in seconds from the beginning of the recording.
        label: in Unicode's composed form; empty where the line has none.
        line: its number in the file.
        file: the name of the recording without folders, where the line gives it.
        score: how sure a program was of it; None where the line does not say.
    """

    start: float
    end: float
    label: str
    line: int
    file: str = ""
    score: float | None = None


def label_files(files: Sequence[Path]) -> dict[Path, Path | None]:
    """Return the label files among files, each with the recording beside it whose name it has.

    A Raven table that says itself of which recordings it is may have any name; it comes with None.

    Args:
        files: recordings, label files and any others, of one or several folders.
    """
    recordings = {(path.parent, name): path for path in files if is_clip(path) for name in (path.name, path.stem)}
    found: dict[Path, Path | None] = {}
    for path in files:
        if path.suffix.lower() != ENDING:
            continue
        parts = path.name.split(".")
        names = (".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
        recording = next((recordings[path.parent, name] for name in names if (path.parent, name) in recordings), None)
        header = _first_line(path)
        if recording is not None and (not header or BEGIN in _header(header) or _audacity(header, 1) is not None):
            found[path] = recording
        elif BEGIN in _header(header) and not _FILES.isdisjoint(_header(header)):
            found[path] = None
    return found


def _first_line(path: Path) -> str:
    """Return the first line of a text that is not blank; an unreadable file has one that no label file has."""
    try:
        with path.open("rb") as file:
            start = file.read(_FIRST).decode("utf-8-sig", "replace")
    except OSError:
        return "\0"
    return next((line for line in start.split("\n") if line.strip()), "")


def read_label_file(path: Path) -> list[Marked]:
    """Return what a label file says, in the order of its lines.

    Raises:
        StreamError: it cannot be read or is too large, it is not UTF-8, or a line is not as Audacity or Raven writes
            it. The message names the line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise StreamError(f"{path.name} has more than {_MOST_BYTES:,} bytes; it is no label file")
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StreamError(f"{path.name} is not UTF-8 text ({error.reason}); save it as UTF-8") from None
    except OSError as error:
        raise StreamError(f"{path.name} cannot be read ({error.strerror}); check its permissions") from None
    return parse(text, path.name)


def parse(text: str, name: str) -> list[Marked]:
    """Return what the text of a label file says.

    Args:
        name: of the file, for messages.

    Raises:
        StreamError: as `read_label_file`.
    """
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if lines and BEGIN in _header(lines[0][1]):
        return _raven(lines, name)
    found = []
    for number, line in lines:
        if line.startswith("\\"):
            continue
        marked = _audacity(line, number)
        if marked is None:
            raise StreamError(
                f"{name} line {number} is no label: write start, end (in seconds) and label with tabs between them"
            )
        found.append(marked)
    return found


def _audacity(line: str, number: int) -> Marked | None:
    start, _, rest = line.rstrip("\r").partition("\t")
    end, _, label = rest.partition("\t")
    begins, ends = seconds_of(start), seconds_of(end)
    if begins is None or ends is None:
        return None
    written = _WRITTEN.fullmatch(label.strip())
    score = None if written is None else float(written[2])
    return Marked(begins, ends, nfc(clean(label if written is None else written[1])), number, score=score)


def _header(line: str) -> list[str]:
    return [cell.strip().strip("\ufeff").lower() for cell in line.split("\t")]


def _raven(lines: Sequence[tuple[int, str]], name: str) -> list[Marked]:
    columns = _header(lines[0][1])
    cells = [(number, map(clean, line.rstrip("\r").split("\t"))) for number, line in lines[1:]]
    rows = [(number, dict(zip(columns, values, strict=False))) for number, values in cells]
    label = next((column for column in LABELS if any(row.get(column) for _, row in rows)), None)
    if rows and label is None:
        raise StreamError(f"{name} has no column with labels; it has {', '.join(filter(None, columns))}")
    found = [_selection(row, label or "", f"{name} line {number}", number) for number, row in rows]
    if len({one.file for one in found}) > 1 and not all(row.get(OFFSET) for _, row in rows):
        raise StreamError(f"{name} has several recordings, but no {OFFSET!r} for each row; export it with that column")
    # Raven lists a selection once for each view of it, such as the waveform and the spectrogram.
    once: dict[tuple[object, ...], Marked] = {}
    for one in found:
        once.setdefault((one.file, one.start, one.end, one.label), one)
    return list(once.values())


def _selection(row: dict[str, str], label: str, place: str, number: int) -> Marked:
    begin, end = seconds_of(row.get(BEGIN, "")), seconds_of(row.get(END, ""))
    offset = seconds_of(row[OFFSET]) if row.get(OFFSET) else begin
    if begin is None or end is None or offset is None:
        raise StreamError(f"{place}: {BEGIN!r}, {END!r} or {OFFSET!r} is no number of seconds; export the table again")
    file = next((PureWindowsPath(row[column]).name for column in sorted(_FILES) if row.get(column)), "")
    score = seconds_of(row.get(CONFIDENCE, ""))
    return Marked(offset, round(offset + end - begin, 6), nfc(row.get(label, "")), number, nfc(file), score)
