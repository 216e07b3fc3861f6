"""Names for what ASGI passes between a server and an app, and the headers that every answer has."""

import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_OF_ALL = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


def request_id_in(headers: Headers) -> str:
    """Return the id that a client gave its request, or a new one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def request_id_of(request: Request) -> str:
    """Return the id of a request."""
    return str(request.state.request_id)


def own_headers(request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the headers that every answer has."""
    return [(b"x-request-id", request_id.encode()), *_OF_ALL]
