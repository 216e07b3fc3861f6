"""Connections: how many there are, how long nothing may be answered over one, and what is no request of HTTP."""

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from cl_ast.serving.asgi import Receive, Scope, Send, new_request_id
from cl_ast.serving.refusals import Refusal, answer_of

_MOST_BYTES = 2**16  # of a head, and of what is no body between two pieces of a body or after the last


def bounded_protocol(
    seconds: float, most: int, refusal_by_head: Callable[[Scope], Response | None]
) -> type[HttpToolsProtocol]:
    """Return uvicorn's HTTP protocol with bounds on connections and on the head of a request, in seconds and in bytes.

    uvicorn closes an idle connection only until the first byte comes, so that a client that sends a byte now and then
    would keep it for ever, and takes a head of any length. What uvicorn itself would refuse in plain text has the shape
    of all errors here.

    Args:
        seconds: from the beginning of a connection, or the end of an answer, to the end of the next head.
        most: as many connections at once are too many; what comes over them is refused.
        refusal_by_head: returns the answer of a request that needs no app, given its head; None where it needs one.
            The body is thrown away as it comes.
    """

    class Bounded(HttpToolsProtocol):
        _waiting: asyncio.TimerHandle | None = None
        _end = 0.0  # of the time in which the next head must come, as the loop counts
        _bytes = 0  # since a request began, or since the last piece of its body
        _refused = False  # whether the request that is read now was refused by its head

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._stop_waiting()

        def handle_websocket_upgrade(self) -> None:
            self._stop_waiting()  # this protocol has no more to do with the connection
            super().handle_websocket_upgrade()

        def data_received(self, data: bytes) -> None:
            if max(len(self.connections), len(self.tasks)) >= most:  # a WebSocket is a task only
                self.app = _overloaded
            self._bytes += len(data)
            super().data_received(data)
            if self._bytes > _MOST_BYTES and not self.transport.is_closing():
                self.send_400_response("")

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._bytes, self._refused = 0, False

        def on_headers_complete(self) -> None:
            answer = None if self._is_answering() or self.expect_100_continue else self._refusal()
            if answer is None:
                super().on_headers_complete()
                return
            self.cycle, self._refused = None, True  # type: ignore[assignment]
            self.transport.write(_in_bytes(answer))
            self.on_response_complete()
            if not self.parser.should_keep_alive():
                self.transport.close()

        def on_body(self, body: bytes) -> None:
            self._bytes = 0
            if not self._refused:
                super().on_body(body)

        def on_message_complete(self) -> None:
            if not self._refused:
                super().on_message_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._wait()

        def send_400_response(self, msg: str) -> None:
            self.transport.write(_in_bytes(_last_answer(Refusal("malformed", "this is no request of HTTP/1.1"))))
            self.transport.close()

        def _refusal(self) -> Response | None:
            path = httptools.parse_url(self.url).path.decode("ascii")
            return refusal_by_head({**self.scope, "method": self.parser.get_method().decode("ascii"), "path": path})

        def _is_answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _wait(self) -> None:
            """Begin the time again. A timer that is set stays, since a new one for each answer takes more."""
            self._end = self.loop.time() + seconds
            if self._waiting is None:
                self._waiting = self.loop.call_at(self._end, self._close_unless_answering)

        def _stop_waiting(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()

        def _close_unless_answering(self) -> None:
            self._waiting = None
            if self._is_answering():  # the time begins at the end of the answer
                return
            if self.loop.time() < self._end:
                self._waiting = self.loop.call_at(self._end, self._close_unless_answering)
            else:
                self.transport.close()

    return Bounded


def _in_bytes(answer: Response) -> bytes:
    """Return an answer as HTTP/1.1 has it."""
    head = [b"%b: %b\r\n" % field for field in answer.raw_headers]
    return b"".join([STATUS_LINE[answer.status_code], *head, b"\r\n", answer.body])


async def _overloaded(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a request, as ASGI has it, since there are too many connections."""
    refusal = Refusal("overloaded", "there are too many connections at once; try again", 1.0)
    await _last_answer(refusal)(scope, receive, send)


def _last_answer(refusal: Refusal) -> Response:
    """Return the answer to what reached no endpoint; it says that the connection is closed after it."""
    request_id = new_request_id()
    answer = answer_of(refusal, request_id)
    answer.headers.update({"X-Request-Id": request_id, "Connection": "close"})
    return answer
