"""Shows events as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType

from cl_ast.audio.reading import SAMPLE_RATE
from cl_ast.terminal.rendering.layout import Breakable, bare, line
from cl_ast.wording import plural

if TYPE_CHECKING:
    from cl_ast.events import Event
    from cl_ast.events.writers import Found


def clock(samples: int) -> str:
    """Return a time as it is read in a player: 1:02:03.48, or 2:03.48 in the first hour."""
    hundredths = (samples * 100 + SAMPLE_RATE // 2) // SAMPLE_RATE
    minutes, rest = divmod(hundredths, 6_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest / 100:05.2f}" if hours else f"{minutes}:{rest / 100:05.2f}"


def events(found: Sequence[Found]) -> list[RenderableType]:
    """Return a row for each event of each recording, and a line of how many there are."""
    from cl_ast.events.writers import kept

    table = bare("recording", "from", "to", "label", "task", "score", "windows")
    total = 0
    for recording in found:
        for event in kept(recording):
            total += 1
            times = clock(event.first), clock(event.stop)
            named = line(event.label or "", ""), line(event.task or "", "dim")
            table.add_row(Breakable(event.path), *times, *named, f"{event.score_max:.2f}", str(event.windows))
    length = clock(sum(recording.samples for recording in found))
    where = f"in {length} of {plural(len(found), 'recording')}"
    return [table, f"{plural(total, 'event')} {where}"] if total else [f"no events {where}"]


def event_line(event: Event) -> str:
    """Return an event as a line: when, what, and how sure."""
    return f"{clock(event.first)} - {clock(event.stop)}  {event.label}  ({event.task}, {event.score_max:.2f})"
