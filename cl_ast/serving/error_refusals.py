"""Which refusal answers an error, so that a client learns what concerns it and nothing of this machine."""

from collections.abc import Callable, Mapping
from pathlib import Path

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
from cl_ast.serving.refusals import Refusal
from cl_ast.wording import first_line


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
