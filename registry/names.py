"""Names of tasks: which are allowed, when two are the same, and which one was probably meant."""

import bisect
import difflib
import unicodedata
from collections.abc import Sequence

from cl_ast.errors import RegistryError
from cl_ast.escaping import refused_in_name
from cl_ast.wording import some_of
from registry.limits import TEXTS

_LONGEST = TEXTS["name"]
_RESERVED = frozenset({"auto", "oracle"})  # values of --task
_SHOWN = 20
_COMPARED = 200


def key(name: str) -> str:
    """Return what all spellings of one name share: case and Unicode form do not matter."""
    if name.isascii():  # the same, and quicker
        return name.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def checked(name: str) -> str:
    """Return the name of a new task, or raise RegistryError with the rule that it breaks."""
    refused = refused_in_name(checked_stored(name))
    if refused:
        raise RegistryError(
            f"a task's name has no control, format or blank characters, and {name!r} has {refused}: choose another name"
        )
    return name


def checked_stored(name: str) -> str:
    """Return the name of a task that may be there already, or raise RegistryError with the rule that it breaks.

    Releases before this one allowed format and blank characters. Their tasks stay, and are listed with escapes.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST:
        raise RegistryError(f"a task's name has 1 to {_LONGEST} characters: {str(name)[:40]!r} cannot be one")
    if name != name.strip():
        raise RegistryError(f"a task's name neither starts nor ends with a space: {name!r} cannot be one")
    plain = name.isascii() and name.isprintable()
    if not plain and any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in name):
        raise RegistryError(f"a task's name has no control characters: {name!r} cannot be one")
    if "/" in name or "\\" in name or name in {".", ".."}:
        raise RegistryError(f"a task's name is not a path: {name!r} cannot be one")
    if key(name) in _RESERVED:
        raise RegistryError(f'"{name}" is a way to choose the task, and cannot be the name of one')
    return name


def _candidates(name: str, known: Sequence[str]) -> Sequence[str]:
    """Return the keys that are compared with one that is not there: all, or of many those that begin or end like it.

    Comparing all of 100,000 takes a minute, and sorting them a moment.
    """
    if len(known) <= _COMPARED:
        return known
    found = []
    for step in (1, -1):
        ordered = sorted(other[::step] for other in known)
        at = bisect.bisect(ordered, name[::step])
        found += [other[::step] for other in ordered[max(0, at - _COMPARED // 4) : at + _COMPARED // 4]]
    return found


def suggestion(name: str, known: Sequence[str]) -> str:
    """Return the end of a message about a name that is not there: what was probably meant, and which names exist."""
    if not known:
        return "it has no task yet"
    by_key = {key(other): other for other in known}
    wanted = key(name[:_LONGEST])
    close = difflib.get_close_matches(wanted, _candidates(wanted, list(by_key)), n=1)
    names = some_of(known, _SHOWN)
    return f'did you mean "{by_key[close[0]]}"? The tasks are {names}' if close else f"its tasks are {names}"
