"""What the service refuses with: a code, a status of HTTP and a sentence that names nothing of this machine.

It imports neither torch nor numpy: the process that speaks HTTP refuses, too.
"""

import json
from typing import Any

from starlette.responses import Response

STATUS = {
    "malformed": 400,
    "unreadable_audio": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "unknown_task": 404,
    "not_found": 404,
    "not_allowed": 405,
    "conflict": 409,
    "too_large": 413,
    "unsupported": 415,
    "invalid": 422,
    "overloaded": 429,
    "internal": 500,
    "broken_task": 500,
    "not_ready": 503,
    "draining": 503,
    "deadline": 504,
}
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # as Starlette has it, but made once


class Refusal(Exception):  # noqa: N818  (what a client did wrong is no error of the service)
    """An answer that is an error.

    Attributes:
        code: one of `STATUS`, for programs.
        message: what happened and what to do, for people.
        retry_after: in how many seconds it is worth trying again; None where that changes nothing.
    """

    def __init__(self, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The status of HTTP."""
        return STATUS[self.code]

    def to_json(self) -> dict[str, Any]:
        """Return the error as an object for JSON."""
        out: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.retry_after is not None:
            out["retry_after"] = round(self.retry_after, 3)
        return out


def late() -> Refusal:
    """Return the refusal of work whose time is over."""
    return Refusal("deadline", "the answer was not ready in time; send less at once, or give a longer timeout_ms")


def stopping(retry_after: float | None = None) -> Refusal:
    """Return the refusal of work that comes while the service stops."""
    return Refusal("draining", "the service is stopping; ask another one", retry_after)


def answer_of(refusal: Refusal, request_id: str) -> Response:
    """Return a refusal as an answer of HTTP."""
    headers = {}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(refusal.retry_after)))
    if refusal.code == "unauthorized":
        headers["WWW-Authenticate"] = "Bearer"
    body = {"error": {**refusal.to_json(), "request_id": request_id}}
    return Response(_COMPACT.encode(body), refusal.status, headers, "application/json")
