"""Admission: so many requests at once, none while the service drains, and so many bytes of uploads in all."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from cl_ast.serving.engine import Engine
from cl_ast.serving.metrics import Metrics
from cl_ast.serving.refusals import Refusal, stopping

_SOONEST, _LATEST = 0.05, 60.0  # seconds after which a client is told to try again


class Obstacle(NamedTuple):
    """Why a request has no place: the reason as the counters name it, and what the client is told."""

    reason: str
    refusal: Refusal


class Admission:
    """Admits requests, and counts those inside: from a request's head to its answer. For the event loop's thread.

    Attributes:
        inside: how many there are.
        bytes: of their bodies together.
        draining: whether no more come in.
    """

    def __init__(self, engine: Engine, metrics: Metrics, most: int, most_bytes: int) -> None:
        self.inside = 0
        self.bytes = 0
        self.draining = False
        self._engine = engine
        self._metrics = metrics
        self._most = most
        self._most_bytes = most_bytes
        self._empty = asyncio.Event()
        self._empty.set()

    def check(self) -> None:
        """Raise Refusal where a request that comes now has no place; the refusal is counted."""
        obstacle = self.obstacle()
        if obstacle is not None:
            raise self.counted(obstacle)

    def counted(self, obstacle: Obstacle) -> Refusal:
        """Count the refusal of a request, and return it."""
        self._metrics.rejected(obstacle.reason)
        return obstacle.refusal

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Take a place for a request, inside the block. Raises Refusal where there is none."""
        self.check()
        with self.stay():
            yield

    @contextmanager
    def stay(self) -> Iterator[None]:
        """Take a place for what was let in already, such as a job, inside the block."""
        self.inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self.inside -= 1
            if not self.inside:
                self._empty.set()

    @contextmanager
    def body(self) -> Iterator[Callable[[int], None]]:
        """Return a function that is called with the bytes of a body as they come, and raises Refusal beyond."""
        own = 0

        def take(count: int) -> None:
            nonlocal own
            if self.bytes + count > self._most_bytes:
                self._metrics.rejected("uploads_full")
                raise Refusal("overloaded", "too many uploads at once; try again", self.retry_after())
            own += count
            self.bytes += count

        try:
            yield take
        finally:
            self.bytes -= own

    async def emptied(self) -> None:
        """Wait until nobody is inside."""
        await self._empty.wait()

    def retry_after(self) -> float:
        """Return in how many seconds those who are inside now will have been answered, as measured lately."""
        return min(_LATEST, max(_SOONEST, self.inside * self._engine.seconds_per_work))

    def obstacle(self) -> Obstacle | None:
        """Return why a request that comes now has no place; None where it has one."""
        if self.draining:
            return Obstacle("draining", stopping(_SOONEST))
        if self._engine.state != "ready":
            state = self._engine.state
            return Obstacle("not_ready", Refusal("not_ready", f"the service is not ready: {state}", 1.0))
        if self.inside >= self._most:
            message = f"{self.inside} requests are waiting already; try again"
            return Obstacle("queue_full", Refusal("overloaded", message, self.retry_after()))
        return None
