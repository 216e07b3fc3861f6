"""Places: why a request that comes now has none, and when one will be free."""

from dataclasses import dataclass
from typing import NamedTuple

from cl_ast.serving.refusals import Refusal, stopping

READY, DRAINING, STOPPED = "ready", "draining", "stopped"
"""States of the service, beside what it does before it is ready."""
_SOONEST, _LATEST = 0.05, 60.0  # seconds after which a client is told to try again


class Obstacle(NamedTuple):
    """Why a request has no place: the reason as the counters name it, and what the client is told."""

    reason: str
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Places:
    """How many places are taken.

    Attributes:
        state: of the service.
        inside: how many requests have a place.
        most: how many may have one.
        seconds_each: how long one took lately; 0 before the first.
    """

    state: str
    inside: int
    most: int
    seconds_each: float

    def retry_after(self) -> float:
        """Return in how many seconds those who are inside now will have been answered."""
        return min(_LATEST, max(_SOONEST, self.inside * self.seconds_each))

    def obstacle(self) -> Obstacle | None:
        """Return why a request that comes now has no place; None where it has one."""
        if self.state == DRAINING:
            return Obstacle("draining", stopping(_SOONEST))
        if self.state != READY:
            return Obstacle("not_ready", Refusal("not_ready", f"the service is not ready: {self.state}", 1.0))
        if self.inside >= self.most:
            message = f"{self.inside} requests are waiting already; try again"
            return Obstacle("queue_full", Refusal("overloaded", message, self.retry_after()))
        return None
