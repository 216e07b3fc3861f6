"""What every request passes: a request id, the key, no foreign web page, a bound on its body, and the counters."""

import base64
import hashlib
import hmac
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cl_ast.serving import page
from cl_ast.serving.refusals import Refusal, refusal_of
from cl_ast.serving.service import Service
from cl_ast.serving.settings import is_loopback
from cl_ast.wording import first_line

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = frozenset({"/livez", "/readyz", "/metrics", *page.PATHS})
"""Paths that need no key: nothing that they answer is of the registry."""
SUBPROTOCOL = "cl-ast"
"""What a client of a WebSocket may speak, beside which a web page sends its key: it cannot send a header."""
_KEY_PREFIX = f"{SUBPROTOCOL}.key."
_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_OTHER = "other"  # the route of a request that reached none, in the counters
_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


class Gate:
    """Lets requests through to the app of a service, or answers them with a refusal."""

    def __init__(self, app: App, service: Service) -> None:
        self.service = service
        self._app = app
        self._keys = [hashlib.sha256(key.encode()).digest() for key in service.settings.keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection, as ASGI has it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope.setdefault("state", {})["request_id"] = _request_id_in(headers)
        try:
            self._check(scope, headers)
        except Refusal as refusal:
            app = _refusing(refusal)
        else:
            app = self._app
        if scope["type"] == "websocket":
            await app(scope, receive, send)
        else:
            await self._answer(app, scope, receive, send)

    def refusal_by_head(self, scope: Scope) -> Response | None:
        """Return the refusal of a POST for which there is no place; None for any other request.

        A server that asks this when it has read the head of a request does nothing else for it. Refusals by the
        hundreds a second must leave the processor to those who are inside.
        """
        obstacle = self.service.admission.obstacle() if scope["method"] == "POST" else None
        if obstacle is None:
            return None
        started, headers = time.monotonic(), Headers(scope=scope)
        try:
            self._check(scope, headers)
            refusal = self.service.admission.counted(obstacle)
        except Refusal as other:
            refusal = other
        request_id = _request_id_in(headers)
        answer = answer_of(refusal, request_id)
        answer.raw_headers += _own_headers(request_id)
        self.service.metrics.request(_OTHER, refusal.status, time.monotonic() - started)
        return answer

    async def _answer(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.monotonic(), 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = _own_headers(scope["state"]["request_id"])
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
        route = getattr(scope.get("route"), "path", _OTHER)
        self.service.metrics.request(route, status, time.monotonic() - started)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Raise Refusal for a request of a foreign web page, one without a key, and a body that is too large."""
        host, origin = headers.get("host", ""), headers.get("origin")
        # Without a key, a web page could come here by a name of its own that it binds to this machine's address.
        if not self._keys and not is_loopback(_name_of(host)):
            raise Refusal("forbidden", "this service answers to names of this machine only, unless it has keys")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Refusal("forbidden", "requests from other web pages are not answered")
        if self._keys and scope["path"] not in OPEN and not self._has_key(scope, headers):
            raise Refusal("unauthorized", "send a key of this service as `Authorization: Bearer KEY`")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.service.settings.most_bytes:
            raise _too_large(self.service.settings.most_bytes)

    def _has_key(self, scope: Scope, headers: Headers) -> bool:
        """Return whether a key came, in a time that says nothing about which or how much of one fits."""
        given = [hashlib.sha256(key).digest() for key in _keys_in(scope, headers)]
        fits = [hmac.compare_digest(one, own) for one in given for own in self._keys]  # all, whichever fits
        return any(fits)


def _keys_in(scope: Scope, headers: Headers) -> Iterator[bytes]:
    """Yield the keys that came with a request: as a header, or in base64url as a subprotocol of a WebSocket."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield key.strip().encode("utf-8", "surrogatepass")
    for one in scope.get("subprotocols", ()):
        if one.startswith(_KEY_PREFIX):
            text = one.removeprefix(_KEY_PREFIX)
            with suppress(ValueError):
                yield base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


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
            raise _too_large(self._most)
        self._take(count)
        return message


def answer_of(refusal: Refusal, request_id: str) -> JSONResponse:
    """Return a refusal as an answer of HTTP."""
    headers = {}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(refusal.retry_after)))
    if refusal.code == "unauthorized":
        headers["WWW-Authenticate"] = "Bearer"
    body = {"error": {**refusal.to_json(), "request_id": request_id}}
    return JSONResponse(body, refusal.status, headers)


def _refusing(refusal: Refusal) -> App:
    """Return an app that answers everything with a refusal."""

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()  # the wish to connect
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.code})
        else:
            await answer_of(refusal, scope["state"]["request_id"])(scope, receive, send)

    return refuse


def _request_id_in(headers: Headers) -> str:
    """Return the id that a client gave its request, or a new one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _own_headers(request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the headers that every answer has."""
    return [(b"x-request-id", request_id.encode()), *_HEADERS]


def request_id_of(request: Request) -> str:
    """Return the id of a request."""
    return str(request.state.request_id)


def _too_large(most: int) -> Refusal:
    return Refusal("too_large", f"the request has more than the {most:,} bytes that this service takes")


def _name_of(host: str) -> str:
    """Return the host of a Host header without its port."""
    return urlsplit(f"//{host}").hostname or ""
