"""The shortest way from a request to an endpoint, for those that are wanted most.

FastAPI looks through all routes and prepares whatever endpoints may depend on, which takes a third of the time of a
short request. An endpoint that takes nothing but the request, and returns its answer itself, needs none of that.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from cl_ast.serving.asgi import App, Receive, Scope, Send

Handler = Callable[[Request, Exception], Awaitable[Response]]
"""Returns the answer for an error of its kind."""


class Direct:
    """An app that answers the requests of some routes itself, and lets another app answer all others."""

    def __init__(self, app: App, routes: Sequence[APIRoute], handlers: Mapping[Any, Handler]) -> None:
        """
        Args:
            routes: with fixed paths, to endpoints as the module says; the other app has them, too.
            handlers: what answers each kind of error; others are raised.
        """
        self._app = app
        self._routes = {(method, route.path): route for route in routes for method in route.methods or ()}
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection, as ASGI has it."""
        is_request = scope["type"] == "http" and not scope.get("root_path")
        route = self._routes.get((scope["method"], scope["path"])) if is_request else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope.update(app=self._app, route=route)  # as the other app does
        request = Request(scope, receive, send)
        try:
            answer: Response = await route.endpoint(request)
        except Exception as error:
            handler = next((self._handlers[kind] for kind in type(error).__mro__ if kind in self._handlers), None)
            if handler is None:
                raise
            answer = await handler(request, error)
        await answer(scope, receive, send)
