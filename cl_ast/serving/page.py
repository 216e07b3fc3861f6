"""The page for people: files that are sent as they are, with a policy that lets nothing else in."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from starlette.responses import Response

from cl_ast.serving.page_paths import FOLDER, PATHS, TYPES

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def routes() -> APIRouter:
    """Return the paths of the page."""
    router = APIRouter(include_in_schema=False)
    for path, name in PATHS.items():
        router.add_api_route(path, _sending(name), methods=["GET"])
    return router


def _sending(name: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        file = FOLDER / name
        return Response(file.read_bytes(), media_type=TYPES[file.suffix], headers=_HEADERS)

    return send
