"""A hook for the tests of crash safety: they stop or fail the process at each change of what is stored, one by one.

Whatever changes a registry's files or database calls `crash_point` just before. Between two of these calls nothing
happens that outlives the process. Outside the tests a call does nothing.
"""

from collections.abc import Callable

hook: Callable[[str], None] | None = None  # set by tests only


def crash_point(step: str) -> None:
    """Announce the change that comes next, in a few words."""
    if hook is not None:
        hook(step)
