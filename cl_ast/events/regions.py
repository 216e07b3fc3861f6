"""Hysteresis over the scores of one class: regions that reach `on` and stay at `off` or above, and gaps bridged."""

from dataclasses import dataclass, field, replace

from cl_ast.events.event import Threshold

BELOW_ON = "below on"
TOO_SHORT = "too short"


@dataclass(slots=True)
class Region:
    """Neighbouring cells of the grid, from `first` up to but not including `stop`.

    Attributes:
        peak, total: the highest of their scores, and the sum.
        windows: how many windows cover a part of it.
        reached: whether a score reached `on`.
    """

    first: int
    stop: int
    peak: float
    total: float
    windows: int
    reached: bool = False

    @property
    def mean(self) -> float:
        """The mean of its scores."""
        return self.total / (self.stop - self.first)

    def add(self, score: float, begun: int) -> None:
        """Add the next cell, in which so many windows begin."""
        self.stop += 1
        self.peak = max(self.peak, score)
        self.total += score
        self.windows += begun

    def joined(self, gap_total: float, gap_begun: int, after: "Region") -> "Region":
        """Return this region, the gap after it and the region after that as one."""
        return Region(
            self.first,
            after.stop,
            max(self.peak, after.peak),
            self.total + gap_total + after.total,
            self.windows + gap_begun + after.windows,
            reached=True,
        )


@dataclass(slots=True)
class Gap:
    """The cells after a region that ended: the sum of their scores, and how many windows begin in them."""

    total: float = 0.0
    begun: int = 0
    rejected: list[Region] = field(default_factory=list)


class Regions:
    """The regions of one class, from the scores of cell after cell.

    A region that has ended is given when no later one can be bridged to it. Rejected ones within a bridged gap are not
    given: they are part of an event.

    Attributes:
        open: the region that goes on now; None where the score is below `off`.
        ended: the region before, to which the next may be bridged.
    """

    def __init__(self, threshold: Threshold, gap: int) -> None:
        """
        Args:
            gap: the fewest cells that part two regions; fewer are bridged.
        """
        self._threshold = threshold
        self._least_gap = gap
        self.open: Region | None = None
        self.ended: Region | None = None
        self._gap = Gap()
        self._before = Gap()  # the gap as it was when the open region began

    @property
    def is_idle(self) -> bool:
        """Whether no region is open or waits."""
        return self.open is None and self.ended is None

    def add(self, number: int, score: float, windows: int, begun: int) -> list[Region]:
        """Take the next cell, and return the regions that are over: those that reached `on`, and those that did not."""
        found: list[Region] = []
        if score >= self._threshold.off:
            if self.open is None:
                self.open = Region(number, number + 1, score, score, windows)
                self._before = replace(self._gap, begun=self._gap.begun + begun - windows)
            else:
                self.open.add(score, begun)
            if score >= self._threshold.on and not self.open.reached:
                self.open.reached = True
                self._bridge()
        elif self.open is not None:
            found += self._close()
        self._gap.total += score
        self._gap.begun += begun
        if self.ended is not None and number + 1 - self.ended.stop >= self._least_gap and not self._may_be_bridged():
            found += self._give()
        return found

    def finish(self) -> list[Region]:
        """Return what is left at the end of the recording."""
        found = [] if self.open is None else self._close()
        return found + ([] if self.ended is None else self._give())

    def _bridge(self) -> None:
        """Join the open region, which has just reached `on`, to the one before it if it is near."""
        if self._may_be_bridged():
            assert self.open is not None and self.ended is not None
            self.open = self.ended.joined(self._before.total, self._before.begun, self.open)
            self.ended, self._gap = None, Gap()

    def _may_be_bridged(self) -> bool:
        if self.open is None or self.ended is None:
            return False
        return self.open.first - self.ended.stop < self._least_gap

    def _close(self) -> list[Region]:
        """End the open region, and return those that are over by that."""
        assert self.open is not None
        closed, self.open = self.open, None
        if not closed.reached:
            if self.ended is None:
                return [closed]
            self._gap.rejected.append(closed)
            return []
        found = [] if self.ended is None else self._give()
        self.ended, self._gap = closed, Gap()
        return found

    def _give(self) -> list[Region]:
        assert self.ended is not None
        found = [self.ended, *self._gap.rejected]
        self.ended, self._gap = None, Gap()
        return found
