"""What sounded from when to when: events in recordings and in live streams.

`WindowScorer` scores windows by one task, by the router or by all tasks; `EventDetector` makes events of the scores of
any windows; `StreamDetector` does both for samples that come in pieces of any length, and `EventsOf` for a recording.
"""

from cl_ast.events.detector import EventDetector
from cl_ast.events.event import ALL, Event, EventSettings, Threshold
from cl_ast.events.grid import ScoredWindow, TaskScores
from cl_ast.events.recordings import EventsOf
from cl_ast.events.scoring import WindowScorer
from cl_ast.events.stream import StreamDetector

__all__ = [
    "ALL",
    "Event",
    "EventDetector",
    "EventSettings",
    "EventsOf",
    "ScoredWindow",
    "StreamDetector",
    "TaskScores",
    "Threshold",
    "WindowScorer",
]
