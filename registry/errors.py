"""Turns what the operating system says about files into sentences that say what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cl_ast.errors import RegistryError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def file_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn an OSError into a RegistryError that says what to do."""
    try:
        yield
    except OSError as error:
        raise RegistryError(f"cannot {doing} {path}: {_advice(error)}") from error


def not_writable(place: str) -> str:
    """Return the message for a registry that this user may only read."""
    return (
        f"the registry in {place} cannot be written by you, only read; change its permissions or name another registry"
    )


def _advice(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return f"no space is left there ({reason}); nothing was changed, free some and try again"
    if error.errno in _DENIED:
        return f"you may not ({reason}); change its permissions or use another registry"
    return reason
