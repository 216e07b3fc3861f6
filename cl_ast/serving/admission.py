"""Admission: so many requests at once, none while the service drains, and so many bytes of uploads in all."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cl_ast.serving.engine import Engine
from cl_ast.serving.metrics import Metrics
from cl_ast.serving.refusals import Refusal, stopping

_SOONEST, _LATEST = 0.05, 60.0  # seconds after which a client is told to try again


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

    @property
    def has_place(self) -> bool:
        """Whether a request that comes now is let in."""
        return self._obstacle() is None

    def check(self) -> None:
        """Raise Refusal where a request that comes now has no place; the refusal is counted."""
        obstacle = self._obstacle()
        if obstacle is not None:
            reason, refusal = obstacle
            self._metrics.rejected(reason)
            raise refusal

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

    def _obstacle(self) -> tuple[str, Refusal] | None:
        """Return why a request has no place, as the counters name it, and its refusal; None where it has one."""
        if self.draining:
            return "draining", stopping(_SOONEST)
        if self._engine.state != "ready":
            return "not_ready", Refusal("not_ready", f"the service is not ready: {self._engine.state}", 1.0)
        if self.inside >= self._most:
            message = f"{self.inside} requests are waiting already; try again"
            return "queue_full", Refusal("overloaded", message, self.retry_after())
        return None
