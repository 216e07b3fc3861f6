"""Processes that change a registry at once, or under limits of their own: forks, which have imported everything."""

import os
import signal
import traceback
from collections.abc import Callable
from importlib import import_module

_PATIENCE = 120  # seconds


def in_forks(*works: Callable[[], object]) -> list[int]:
    """Do each of these in a fork of this process, all at once. Return their exit codes: 0 where nothing was raised."""
    waiting, start = os.pipe()
    children = []
    for work in works:
        child = os.fork()
        if not child:
            code = 1
            try:
                signal.alarm(_PATIENCE)  # which kills it
                os.close(start)
                os.read(waiting, 1)
                work()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    os.close(start)  # no fork waits any longer
    os.close(waiting)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def as_nobody() -> None:
    """Give up the rights of root, in a fork. What it needs is imported before: nobody may not read this checkout."""
    for name in ("models", "sqlite_database", "backup", "table_copy"):
        import_module(f"registry.{name}")
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
