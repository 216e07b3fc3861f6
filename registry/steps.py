"""The moments at which dying leaves the disk in a state of its own; the tests of crash safety stop here, one by one.

Whatever changes a registry's folder says so first. Between two steps nothing happens that outlives a process.
"""

from collections.abc import Callable

hook: Callable[[str], None] | None = None  # set by tests only


def reached(step: str) -> None:
    """About to do `step`."""
    if hook is not None:
        hook(step)
