"""The page for people: files that lie beside this module, sent as they are, with a policy that lets nothing else in."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from types import MappingProxyType

from fastapi import APIRouter
from starlette.responses import Response

FILES = Path(__file__).with_name("page_files")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_INDEX = "index.html"
_NAMES = sorted(file.name for file in FILES.iterdir() if file.suffix in _TYPES)
PATHS = MappingProxyType({"/" if name == _INDEX else f"/page/{name}": name for name in _NAMES})
"""The name of the file at each path."""
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
        file = FILES / name
        return Response(file.read_bytes(), media_type=_TYPES[file.suffix], headers=_HEADERS)

    return send
