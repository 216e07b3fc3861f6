"""Writes the result of a command to a file instead of standard output: whole, or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TextIO

from cl_ast.errors import ClAstError


@contextmanager
def result_in(path: Path | None) -> Iterator[None]:
    """Let what the block prints to standard output be the content of a file; None leaves it there.

    The file appears when the block is done, or ends with an exit code. If an error or Ctrl-C ends it, a file that was
    there before is left as it was.

    Raises:
        ClAstError: the file cannot be written; that it cannot be made is known before the block runs.
    """
    # Of several processes of a launcher, the first one has the result.
    if path is None or os.environ.get("RANK", "0") != "0":
        yield
        return
    with _refused(path):
        place = path.resolve()  # a link stays, and what it leads to is replaced
        regular = not place.exists() or stat.S_ISREG(place.stat().st_mode)
        temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part") if regular else place
        file = temporary.open("x" if regular else "w", encoding="utf-8", newline="\n")
    try:
        with file, redirect_stdout(file):
            try:
                yield
            except SystemExit:
                _finish(path, file, temporary, place)
                raise
            _finish(path, file, temporary, place)
    finally:
        if temporary != place:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _finish(path: Path, file: TextIO, temporary: Path, place: Path) -> None:
    with _refused(path):
        file.flush()
        if temporary == place:
            return
        os.fsync(file.fileno())
        if place.exists():
            shutil.copymode(place, temporary)
        temporary.replace(place)


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ClAstError(f"{path}: the result cannot be written there ({reason}); name another file") from None
