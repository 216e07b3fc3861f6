"""A command that several processes run together, of which one prints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cl_ast.training.distributed import Group

_A_MOMENT = 0.5  # seconds; the launcher stops all when one ends, and the one that says why needs a moment


@contextmanager
def launched_group(device: str) -> Iterator[Group]:
    """Yield the group that a launcher started this process in, or a group of one.

    Of several processes that fail, the first one says why.
    """
    from cl_ast.training.distributed import launched

    group = launched(device)
    try:
        yield group
    except (Exception, KeyboardInterrupt):
        if group.first_to_fail():
            raise
        time.sleep(_A_MOMENT)
        raise click.exceptions.Exit(1) from None
    group.close()
