"""The errors of the service: each has a code, a status of HTTP and a sentence that names nothing of this machine."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cl_ast.errors import (
    AudioError,
    ClAstError,
    CorruptRegistryError,
    NotFiniteError,
    TaskExistsError,
    TaskNotFoundError,
)
from cl_ast.events import ALL
from cl_ast.inference.prediction import AUTO
from cl_ast.wording import first_line

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


def refusal_of(error: BaseException, task: str = "") -> Refusal:
    """Return what a client is told of an error; what concerns this machine alone is left out.

    Args:
        task: the one that was to answer, or "auto" or "all"; empty where no task was named.
    """
    if isinstance(error, Refusal):
        return error
    if isinstance(error, AudioError):
        return Refusal("unreadable_audio", str(error))
    if isinstance(error, TaskNotFoundError):
        return Refusal("unknown_task", str(error))
    if isinstance(error, TaskExistsError):
        return Refusal("conflict", f"a task of that name is there already; give another name, or replace: {task}")
    which = "a task" if task in ("", AUTO, ALL) else f"the task {task}"
    if isinstance(error, NotFiniteError):
        return Refusal("broken_task", f"{which} answers with values that are not numbers; ask for another version")
    if isinstance(error, CorruptRegistryError):
        return Refusal("broken_task", f"the file of {which} is damaged or missing; the service's log says more")
    if isinstance(error, ClAstError):
        return Refusal("internal", "the registry cannot answer now; the service's log says why")
    return Refusal("internal", "something unexpected went wrong; the service's log says what")


def without_places(message: str, places: Mapping[str, str]) -> str:
    """Return a message in which public names stand for places of this machine.

    Args:
        places: the public name of each place. A place without a folder, such as `ast-mini`, is public and stays.
    """
    for place, public in places.items():
        if Path(place).name != place:
            message = message.replace(place, public)
    return message


def refusal_after_logging(error: BaseException, log: Callable[[str], None], who: str, task: str = "") -> Refusal:
    """Return what a client is told of an error, after what is no fault of the client's has been logged.

    Args:
        who: whose error it is, such as the id of the request.
    """
    refusal = refusal_of(error, task)
    if refusal.code in ("internal", "broken_task") and refusal is not error:
        log(f"{who}: {type(error).__name__}: {first_line(error)}")
    return refusal
