"""A command that several processes run together: one of them speaks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cl_ast.training.distributed import Group

_A_MOMENT = 0.5  # seconds: a launcher stops the others when the first process ends, and one of them is still speaking


@contextmanager
def together(device: str) -> Iterator[Group]:
    """The group that a launcher started this process in, or a group of one; of what fails, the first process tells."""
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
