"""A route that is reached directly answers as FastAPI lets it answer, errors included."""

import asyncio
from collections.abc import Callable, Coroutine, MutableMapping
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from cl_ast.serving.direct import Direct

Message = MutableMapping[str, Any]
App = Callable[..., Coroutine[Any, Any, None]]
PATH = "/short"


class KnownError(Exception):
    """An error with a handler."""


class KindOfKnownError(KnownError):
    """One of that kind."""


class UnknownError(Exception):
    """An error without one."""


ERRORS: dict[str, Exception] = {
    "known": KnownError("a"),
    "kind": KindOfKnownError("b"),
    "http": HTTPException(400, "c"),
    "unknown": UnknownError("d"),
}


async def endpoint(request: Request) -> Response:
    """Answer what came."""
    wanted = request.query_params.get("raise", "")
    if wanted in ERRORS:
        raise ERRORS[wanted]
    if request.headers.get("content-type", "").startswith("multipart/"):
        async with request.form() as form:
            return JSONResponse(sorted(form))
    content = await request.body()
    return JSONResponse([dict(request.query_params), len(content), request.path_params], 201, {"x-own": "1"})


async def handled(request: Request, error: Exception) -> Response:
    return JSONResponse([type(error).__name__, str(error), request.url.path], 418)


async def left(request: Request, error: Exception) -> Response:
    return Response(status_code=499)


HANDLERS: dict[Any, Any] = {KnownError: handled, HTTPException: handled, ClientDisconnect: left}


def apps() -> tuple[App, App]:
    """Return an app, and the same one with a direct way to one of its routes."""
    app, router = FastAPI(docs_url=None, redoc_url=None), APIRouter()
    router.add_api_route(PATH, endpoint, methods=["POST"])
    router.add_api_route("/long", endpoint, methods=["POST"])
    app.include_router(router)
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    short = [one for one in router.routes if isinstance(one, APIRoute) and one.path == PATH]
    return app, Direct(app, short, HANDLERS)


def answer_of(app: App, scope: Message, *messages: Message) -> object:
    """Return what an app sends, in one line, with the route that it names; or the error that it raises."""
    coming, sent = list(messages), list[Message]()

    async def receive() -> Message:
        return coming.pop(0) if coming else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    try:
        asyncio.run(app(scope, receive, send))
    except Exception as error:
        return type(error).__name__, str(error)
    headers = sorted((name, value) for one in sent for name, value in one.get("headers", ()))
    body = b"".join(one.get("body", b"") for one in sent)
    return next(one.get("status") for one in sent), headers, body, getattr(scope.get("route"), "path", None)


def scope(path: str = PATH, query: str = "", method: str = "POST", **more: object) -> Message:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"host", b"here")],
        "server": ("here", 80),
        "client": ("there", 1),
        "state": {},
        **more,
    }


BODY: Message = {"type": "http.request", "body": b"12345", "more_body": False}
PART: Message = {"type": "http.request", "body": b"12345", "more_body": True}
FORM: Message = {
    "type": "http.request",
    "body": b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n',
}
FORM_HEADERS = [(b"host", b"here"), (b"content-type", b"multipart/form-data; boundary=x")]
CASES: dict[str, tuple[dict[str, Any], list[Message]]] = {
    "answer": ({"query": "a=1&b=%20"}, [BODY]),
    "parts": ({}, [PART, PART, BODY]),
    "gone": ({}, [PART]),
    "form": ({"headers": FORM_HEADERS}, [FORM]),
    "wrong form": ({"headers": FORM_HEADERS}, [BODY]),
    "known": ({"query": "raise=known"}, [BODY]),
    "kind of known": ({"query": "raise=kind"}, [BODY]),
    "http": ({"query": "raise=http"}, [BODY]),
    "unknown": ({"query": "raise=unknown"}, [BODY]),
    "other method": ({"method": "GET"}, [BODY]),
    "other path": ({"path": "/long"}, [BODY]),
    "no path": ({"path": "/none"}, [BODY]),
    "slash": ({"path": "/short/"}, [BODY]),
    "below another": ({"root_path": "/base", "path": "/base/short"}, [BODY]),
    "path of another": ({"root_path": "/base", "path": "/short"}, [BODY]),
}


@pytest.mark.parametrize("case", CASES)
def test_both_ways_lead_to_the_same_answer(case: str) -> None:
    words, messages = CASES[case]
    app, direct = apps()
    expected = answer_of(app, scope(**words), *messages)
    assert answer_of(direct, scope(**words), *messages) == expected
    if case == "answer":
        assert expected[0] == 201 and expected[3] == PATH  # type: ignore[index]


def test_the_direct_way_is_taken() -> None:
    """Without the other app at all."""

    async def other(*_: object) -> None:
        raise AssertionError("not needed")

    router = APIRouter()
    router.add_api_route(PATH, endpoint, methods=["POST"])
    route = router.routes[0]
    assert isinstance(route, APIRoute)
    found = answer_of(Direct(other, [route], HANDLERS), scope(query="raise=known"), BODY)
    assert isinstance(found, tuple) and found[0] == 418
