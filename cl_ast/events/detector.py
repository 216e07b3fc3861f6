"""From the scores of windows to events: the grid, the median, and hysteresis or change points for each class."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from cl_ast.audio.reading import SAMPLE_RATE
from cl_ast.events.event import Event, EventSettings, Key
from cl_ast.events.grid import Cell, ScoredWindow, Scores, SmoothGrid
from cl_ast.events.regions import BELOW_ON, TOO_SHORT, Region, Regions
from cl_ast.events.sebb import boxes

UNKNOWN = "unknown"
_DIGITS = 4  # of a score in an event


class EventDetector:
    """Takes the scores of a recording's windows in order, and gives events as they end.

    Events follow from the windows alone: it makes no difference how many are added at once. With "sebb" they are all
    given at the end, because change points are looked for in the whole recording; its scores are kept until then.
    """

    def __init__(self, path: str, settings: EventSettings, step: int, hop: int) -> None:
        """
        Args:
            path: the recording, as its events name it.
            step: of the grid, in samples (`Backbone.time_step`).
            hop: from the begin of one window to the next, in samples.
        """
        self._path = path
        self._settings = settings
        self._step = step
        self._grid = SmoothGrid(settings, step, hop)
        self._cuts: _Cuts = (_Boxes if settings.method == "sebb" else _Hysteresis)(settings, step)
        self._route = "" if settings.route == "every" else settings.route
        self._waiting: list[Event] = []  # until the recording is as long as they are with their pads

    def add(self, window: ScoredWindow) -> list[Event]:
        """Take the next window, and return the events that are over, and candidates that were rejected."""
        return self._given(self._grid.add(window))

    def finish(self, samples: int) -> list[Event]:
        """End the recording, which is this long; return the events that are left."""
        found = self._given(self._grid.finish(samples), at_end=True)
        return [replace(one, stop=min(one.stop, samples)) for one in found if one.first < samples]

    @property
    def sounding(self) -> list[Event]:
        """The events that go on now, and are long enough to count; each ends where the grid does so far."""
        each = ((key, region) for key, region in self._cuts.sounding(self._grid.keys))
        events = (self._event(key, region) for key, region in each)
        return [one for one in events if not one.why]

    def _given(self, cells: Iterator[Cell], *, at_end: bool = False) -> list[Event]:
        for cell in cells:
            self._waiting += self._events(self._cuts.add(cell, self._grid.keys))
        if at_end:
            self._waiting += self._events(self._cuts.finish(self._grid.keys))
        now = self._cuts.cells * self._step
        found = [one for one in self._waiting if at_end or one.stop <= now]
        self._waiting = [one for one in self._waiting if not at_end and one.stop > now]
        return found

    def _events(self, regions: list[tuple[Key | None, Region]]) -> list[Event]:
        return [self._event(key, region) for key, region in regions]

    def _event(self, key: Key | None, region: Region) -> Event:
        """Return a region as an event, or as a candidate with the reason why it is none."""
        first, stop = region.first * self._step, region.stop * self._step
        if key is None:
            return Event(self._path, first, stop, None, None, None, None, region.windows, UNKNOWN, self._route)
        task, label = key
        why = ""
        if not region.reached:
            why = BELOW_ON
        elif stop - first < round(self._settings.min_duration * SAMPLE_RATE):
            why = TOO_SHORT
        else:
            pad = round(self._settings.pad * SAMPLE_RATE)
            first, stop = max(0, first - pad), stop + pad
        peak, mean = round(region.peak, _DIGITS), round(region.mean, _DIGITS)
        return Event(self._path, first, stop, label, task, peak, mean, region.windows, why, self._route)


class _Unknown:
    """Finds where no task fits: regions of cells most of whose windows are unknown to the router."""

    def __init__(self) -> None:
        self._open: Region | None = None

    def add(self, number: int, cell: Cell) -> list[tuple[Key | None, Region]]:
        if cell.is_unknown:
            if self._open is None:
                self._open = Region(number, number + 1, 0.0, 0.0, cell.windows)
            else:
                self._open.add(0.0, cell.begun)
            return []
        return self.finish()

    def finish(self) -> list[tuple[Key | None, Region]]:
        found, self._open = self._open, None
        return [] if found is None else [(None, found)]


class _Hysteresis:
    """Cuts regions out of the cells of all classes as they come; only classes that sound cost time."""

    def __init__(self, settings: EventSettings, step: int) -> None:
        self.cells = 0
        self._settings = settings
        self._gap = settings.gap_cells(step)
        self._off: Scores = np.zeros(0)
        self._classes: list[Regions] = []
        self._busy: set[int] = set()
        self._unknown = _Unknown()

    def add(self, cell: Cell, keys: Sequence[Key]) -> list[tuple[Key | None, Region]]:
        """Take the next cell, and return the regions that are over."""
        for key in keys[len(self._classes) :]:
            self._classes.append(Regions(self._settings.threshold_of(key), self._gap))
            self._off = np.append(self._off, self._settings.threshold_of(key).off)
        found = self._unknown.add(self.cells, cell)
        above = np.flatnonzero(cell.scores >= self._off[: len(cell.scores)]) if cell.windows else ()
        for place in sorted(self._busy.union(map(int, above))):
            score = float(cell.scores[place]) if place < len(cell.scores) and cell.windows else 0.0
            regions = self._classes[place]
            over = regions.add(self.cells, score, cell.windows, cell.begun)
            found += [(keys[place], one) for one in over]
            (self._busy.discard if regions.is_idle else self._busy.add)(place)
        self.cells += 1
        return found

    def finish(self, keys: Sequence[Key]) -> list[tuple[Key | None, Region]]:
        """Return the regions that are left at the end."""
        found = self._unknown.finish()
        for place in sorted(self._busy):
            found += [(keys[place], one) for one in self._classes[place].finish()]
        self._busy.clear()
        return found

    def sounding(self, keys: Sequence[Key]) -> list[tuple[Key, Region]]:
        """Return the regions that reached `on` and go on, or may still be bridged."""
        each = ((place, self._classes[place]) for place in sorted(self._busy))
        now = ((place, one.open if one.open is not None and one.open.reached else one.ended) for place, one in each)
        return [(keys[place], region) for place, region in now if region is not None]


class _Boxes:
    """Keeps the cells of all classes until the end, and cuts them there where their scores change (`sebb`)."""

    def __init__(self, settings: EventSettings, step: int) -> None:
        self.cells = 0
        self._settings = settings
        self._length = settings.median_cells(step)
        self._kept: list[Cell] = []
        self._unknown = _Unknown()

    def add(self, cell: Cell, keys: Sequence[Key]) -> list[tuple[Key | None, Region]]:
        """Keep the next cell, in single precision."""
        found = self._unknown.add(self.cells, cell)
        cell.scores = cell.scores.astype(np.float32)
        self._kept.append(cell)
        self.cells += 1
        return found

    def finish(self, keys: Sequence[Key]) -> list[tuple[Key | None, Region]]:
        """Return the candidates of all classes that reach `off`; those whose mean reaches `on` are events."""
        found = self._unknown.finish()
        for place, key in enumerate(keys):
            scores = np.array([cell.scores[place] if place < len(cell.scores) else 0.0 for cell in self._kept])
            threshold = self._settings.threshold_of(key)
            for first, stop in boxes(scores, self._length):
                part = scores[first:stop]
                windows = self._kept[first].windows + sum(cell.begun for cell in self._kept[first + 1 : stop])
                region = Region(first, stop, float(part.max()), float(part.sum()), windows)
                region.reached = region.mean >= threshold.on
                if region.peak >= threshold.off:
                    found.append((key, region))
        return sorted(found, key=lambda one: (one[1].stop, one[1].first))

    def sounding(self, keys: Sequence[Key]) -> list[tuple[Key, Region]]:
        """Return no region: what sounds is known at the end."""
        return []


_Cuts = _Hysteresis | _Boxes
