"""Admission: so many requests at once, none while the service drains, and so many bytes of uploads in all."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cl_ast.serving.engine import Engine
from cl_ast.serving.metrics import Metrics
from cl_ast.serving.places import DRAINING, Places
from cl_ast.serving.refusals import Refusal


class Admission:
    """Admits requests, and counts those inside: from a request's head to its answer. For the event loop's thread.

    Attributes:
        inside: how many there are, with the jobs.
        jobs: how many jobs have a place, whose requests have been answered.
        bytes: of the bodies together.
        draining: whether no more come in.
        changed: is called when the number of jobs has changed.
    """

    def __init__(self, engine: Engine, metrics: Metrics, most: int, most_bytes: int) -> None:
        self.inside = 0
        self.jobs = 0
        self.bytes = 0
        self.draining = False
        self.changed: Callable[[], None] = lambda: None
        self._engine = engine
        self._metrics = metrics
        self._most = most
        self._most_bytes = most_bytes
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def places(self) -> Places:
        """The places as they are now."""
        state = DRAINING if self.draining else self._engine.state
        return Places(state, self.inside, self._most, self._engine.seconds_per_work)

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Take a place for a request, inside the block. Raises Refusal where there is none."""
        obstacle = self.places.obstacle()
        if obstacle is not None:
            self._metrics.rejected(obstacle.reason)
            raise obstacle.refusal
        self._add(1)
        try:
            yield
        finally:
            self._add(-1)

    @contextmanager
    def job(self) -> Iterator[None]:
        """Take a place for a job, whose request was let in, inside the block."""
        self._add(1, job=True)
        try:
            yield
        finally:
            self._add(-1, job=True)

    def _add(self, count: int, *, job: bool = False) -> None:
        self.inside += count
        if self.inside:
            self._empty.clear()
        else:
            self._empty.set()
        if job:
            self.jobs += count
            self.changed()

    @contextmanager
    def body(self) -> Iterator[Callable[[int], None]]:
        """Return a function that is called with the bytes of a body as they come, and raises Refusal beyond."""
        own = 0

        def take(count: int) -> None:
            nonlocal own
            if self.bytes + count > self._most_bytes:
                self._metrics.rejected("uploads_full")
                raise Refusal("overloaded", "too many uploads at once; try again", self.places.retry_after())
            own += count
            self.bytes += count

        try:
            yield take
        finally:
            self.bytes -= own

    async def emptied(self) -> None:
        """Wait until nobody is inside."""
        await self._empty.wait()
