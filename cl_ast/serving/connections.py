"""Connections: how many there are, how long nothing may be answered over one, and what is no request of HTTP."""

import asyncio
import uuid
from typing import Any

import h11
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from cl_ast.serving.gate import Receive, Scope, Send, answer_of
from cl_ast.serving.refusals import Refusal


def bounded_protocol(seconds: float, most: int) -> type[H11Protocol]:
    """Return uvicorn's HTTP protocol with a bound on how long the head of a request may take, and on connections.

    uvicorn closes an idle connection only until the first byte comes, so that a client that sends a byte now and then
    would keep it for ever. What uvicorn itself would refuse in plain text has the shape of all errors here.

    Args:
        seconds: from the beginning of a connection, or the end of an answer, to the end of the next head.
        most: as many connections at once are too many; what comes over them is refused.
    """

    class Bounded(H11Protocol):
        _waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._stop_waiting()

        def data_received(self, data: bytes) -> None:
            if max(len(self.connections), len(self.tasks)) >= most:  # a WebSocket is a task only
                self.app = _overloaded
            super().data_received(data)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._stop_waiting()
            self._wait()

        def send_400_response(self, msg: str) -> None:
            answer = _last_answer(Refusal("malformed", "this is no request of HTTP/1.1"))
            head = h11.Response(status_code=answer.status_code, headers=answer.raw_headers)
            for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

        def _wait(self) -> None:
            self._waiting = self.loop.call_later(seconds, self._close_unless_answering)

        def _stop_waiting(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()

        def _close_unless_answering(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Bounded


async def _overloaded(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a request, as ASGI has it, since there are too many connections."""
    refusal = Refusal("overloaded", "there are too many connections at once; try again", 1.0)
    await _last_answer(refusal)(scope, receive, send)


def _last_answer(refusal: Refusal) -> Response:
    """Return the answer to what reached no endpoint; it says that the connection is closed after it."""
    request_id = uuid.uuid4().hex
    answer = answer_of(refusal, request_id)
    answer.headers.update({"X-Request-Id": request_id, "Connection": "close"})
    return answer
