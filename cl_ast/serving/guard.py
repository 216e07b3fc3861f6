"""Whom the service lets in: no foreign web page, nobody without a key, and no body that says it is too large."""

import base64
import hashlib
import hmac
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from urllib.parse import urlsplit

from cl_ast.serving import page_paths
from cl_ast.serving.asgi import Headers, Scope
from cl_ast.serving.refusals import Refusal
from cl_ast.serving.settings import Settings, is_loopback

OPEN = frozenset({"/livez", "/readyz", "/metrics", *page_paths.PATHS})
"""Paths that need no key: nothing that they answer is of the registry."""
SUBPROTOCOL = "cl-ast"
"""What a client of a WebSocket may speak, beside which a web page sends its key: it cannot send a header."""
_KEY_PREFIX = f"{SUBPROTOCOL}.key."


class Guard:
    """Looks at the head of each request."""

    def __init__(self, settings: Settings) -> None:
        self._keys = [hashlib.sha256(key.encode()).digest() for key in settings.keys]
        self._most_bytes = settings.most_bytes

    def check(self, scope: Scope, headers: Headers) -> None:
        """Raise Refusal for a request of a foreign web page, one without a key, and a body that is too large."""
        host, origin = headers.get("host", ""), headers.get("origin")
        # Without a key, a web page could come here by a name of its own that it binds to this machine's address.
        if not self._keys and not _names_this_machine(host):
            raise Refusal("forbidden", "this service answers to names of this machine only, unless it has keys")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Refusal("forbidden", "requests from other web pages are not answered")
        if self._keys and scope["path"] not in OPEN and not self._has_key(scope, headers):
            raise Refusal("unauthorized", "send a key of this service as `Authorization: Bearer KEY`")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._most_bytes:
            raise too_large(self._most_bytes)

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


def too_large(most: int) -> Refusal:
    """Return the refusal of a body of more bytes than that."""
    return Refusal("too_large", f"the request has more than the {most:,} bytes that this service takes")


@lru_cache(maxsize=64)
def _names_this_machine(host: str) -> bool:
    """Return whether a Host header, perhaps with a port, means this machine."""
    return is_loopback(urlsplit(f"//{host}").hostname or "")
