"""Names for what ASGI passes between a server and an app, and the headers that every answer has."""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from starlette.requests import Request

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_OF_ALL = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


Headers = Mapping[str, str]


def headers_of(scope: Scope) -> Headers:
    """Return the headers of a request by name, in lower case; of several with one name the first."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return found


def request_id_in(headers: Headers) -> str:
    """Return the id that a client gave its request, or a new one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    """Return an id for a request."""
    return secrets.token_hex(16)


def request_id_of(request: Request) -> str:
    """Return the id of a request."""
    return str(request.state.request_id)


def own_headers(request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the headers that every answer has."""
    return [(b"x-request-id", request_id.encode()), *_OF_ALL]
