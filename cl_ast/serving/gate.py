"""What every request passes: a request id, the guard, a bound on its body, and the counters."""

import time
from collections.abc import Callable

from cl_ast.serving.asgi import App, Message, Receive, Scope, Send, headers_of, own_headers, request_id_in
from cl_ast.serving.error_refusals import refusal_of
from cl_ast.serving.guard import Guard, too_large
from cl_ast.serving.refusals import Refusal, answer_of
from cl_ast.serving.service import Service
from cl_ast.wording import first_line

NO_ROUTE = "other"
"""The route, in the counters, of a request that reached none."""


class Gate:
    """Lets requests through to the app of a service, or answers them with a refusal."""

    def __init__(self, app: App, service: Service) -> None:
        self.service = service
        self._app = app
        self._guard = Guard(service.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection, as ASGI has it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        scope.setdefault("state", {})["request_id"] = request_id_in(headers)
        try:
            self._guard.check(scope, headers)
        except Refusal as refusal:
            app = _refusing(refusal)
        else:
            app = self._app
        if scope["type"] == "websocket":
            await app(scope, receive, send)
        else:
            await self._answer(app, scope, receive, send)

    async def _answer(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.monotonic(), 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = own_headers(scope["state"]["request_id"])
                message = {**message, "headers": [*message.get("headers", ()), *own]}
            await send(message)

        with self.service.admission.body() as take:
            bounded = _Bounded(receive, self.service.settings.most_bytes, take)
            try:
                await app(scope, bounded, counted)
            except Exception as error:
                self.service.log(f"{scope['state']['request_id']}: {type(error).__name__}: {first_line(error)}")
                if not status:
                    await _refusing(refusal_of(error))(scope, receive, counted)
        route = getattr(scope.get("route"), "path", NO_ROUTE)
        self.service.metrics.request(route, status, time.monotonic() - started)


class _Bounded:
    """Receives a body that is bounded in bytes."""

    def __init__(self, receive: Receive, most: int, take: Callable[[int], None]) -> None:
        self._receive = receive
        self._most = most
        self._take = take
        self._bytes = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        count = len(message.get("body", b""))
        self._bytes += count
        if self._bytes > self._most:
            raise too_large(self._most)
        self._take(count)
        return message


def _refusing(refusal: Refusal) -> App:
    """Return an app that answers everything with a refusal."""

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()  # the wish to connect
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.code})
        else:
            await answer_of(refusal, scope["state"]["request_id"])(scope, receive, send)

    return refuse
