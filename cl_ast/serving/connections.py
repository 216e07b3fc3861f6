"""Connections over which nothing is being answered: they are closed after a while, whatever trickles in."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


def bounded_protocol(seconds: float) -> type[H11Protocol]:
    """Return uvicorn's HTTP protocol with a bound on how long the head of a request may take.

    uvicorn closes an idle connection only until the first byte comes, so that a client that sends a byte now and then
    would keep it for ever.

    Args:
        seconds: from the beginning of a connection, or the end of an answer, to the end of the next head.
    """

    class Bounded(H11Protocol):
        _waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._stop_waiting()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._stop_waiting()
            self._wait()

        def _wait(self) -> None:
            self._waiting = self.loop.call_later(seconds, self._close_unless_answering)

        def _stop_waiting(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()

        def _close_unless_answering(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Bounded
