"""Writes events as text: csv, Audacity's label track, Raven's selection table, subtitles (srt) and JSON lines.

Each is a function of events, which returns lines. Rejected candidates are in JSON lines only. Times are exact: six
digits after the point tell every sample at 16 kHz.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cl_ast import tabular
from cl_ast.audio.reading import SAMPLE_RATE
from cl_ast.escaping import escaped, escaped_json
from cl_ast.events.event import Event

FREQUENCIES = 0, SAMPLE_RATE // 2  # Hz, between which the classes are told apart
_RAVEN = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Begin Path",
    "File Offset (s)",
    "Label",
    "Task",
    "Confidence",
)


@dataclass(frozen=True, slots=True)
class Found:
    """The events of one recording, and how long it is in samples at 16 kHz."""

    path: str
    samples: int
    events: Sequence[Event]


def jsonl(event: Event) -> str:
    """Return an event, or a rejected candidate, as a line of JSON."""
    return escaped_json(json.dumps(event.to_json(), ensure_ascii=False))


def as_csv(recordings: Iterable[Found], settings: Mapping[str, object]) -> str:
    """Return a table with a line for each event, and in each line the settings that it was found with."""
    return tabular.as_csv([{**event.to_json(), **settings} for one in recordings for event in kept(one)])


def audacity(recording: Found, *, frequencies: bool = False) -> str:
    """Return the label track of one recording; with `frequencies`, each label has a second line with its band."""
    lines = []
    for event in kept(recording):
        lines.append(f"{_time(event.first)}\t{_time(event.stop)}\t{_name(event)} {event.score_max:.2f}")
        if frequencies:
            lines.append("\\\t" + "\t".join(f"{value:.6f}" for value in FREQUENCIES))
    return "\n".join(lines)


def raven(recordings: Iterable[Found]) -> str:
    """Return one selection table of several recordings, as Raven opens them together.

    Begin Time and End Time go on from one recording to the next in the order that they are given in; File Offset begins
    at 0 in each.
    """
    lines = ["\t".join(_RAVEN)]
    before = 0  # samples of the recordings before
    for recording in recordings:
        for event in kept(recording):
            times = _time(before + event.first), _time(before + event.stop)
            named = escaped(recording.path), _time(event.first), escaped(event.label or ""), escaped(event.task or "")
            cells = (len(lines), "Spectrogram 1", 1, *times, *FREQUENCIES, *named, f"{event.score_max:.4f}")
            lines.append("\t".join(map(str, cells)))
        before += recording.samples
    return "\n".join(lines)


def srt(recording: Found) -> str:
    """Return the events of one recording as subtitles, to be read beside a player. Their times are whole ms."""
    parts = []
    for number, event in enumerate(kept(recording), 1):
        span = f"{_clock(event.first)} --> {_clock(event.stop)}"
        parts.append(f"{number}\n{span}\n{_name(event)} {event.score_max:.2f}\n")
    return "\n".join(parts).rstrip("\n")


def kept(recording: Found) -> list[Event]:
    """Return the events of a recording that were not rejected, by their begin."""
    return sorted((one for one in recording.events if not one.why), key=lambda one: (one.first, one.stop))


def _name(event: Event) -> str:
    return escaped(f"{event.task}: {event.label}")


def _time(samples: int) -> str:
    """Return a time in seconds, exact to a microsecond, from whole numbers alone."""
    whole, rest = divmod(samples, SAMPLE_RATE)
    return f"{whole}.{rest * 1_000_000 // SAMPLE_RATE:06d}"


def _clock(samples: int) -> str:
    total = (samples * 1000 + SAMPLE_RATE // 2) // SAMPLE_RATE
    hours, minutes, seconds, rest = total // 3_600_000, total // 60_000 % 60, total // 1000 % 60, total % 1000
    return f"{hours:02}:{minutes:02}:{seconds:02},{rest:03}"
