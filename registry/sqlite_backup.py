"""Copies an SQLite database to a file beside it, which stays there when an upgrade is due."""

import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from registry import sqlite_replace
from registry.crash_points import crash_point
from registry.errors import file_errors
from registry.file_stores import sync_folder


def copy(path: Path, why: str) -> Path:
    """Return the path of a copy that holds one moment of the database, with what is still in its log."""
    with file_errors(path.parent, "back up the registry in"):
        crash_point("back up")
        kept, part = _unused(path, why)
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(part)) as target:
            source.backup(target)
        part.replace(kept)
        sync_folder(path.parent)
    return kept


def _unused(path: Path, why: str) -> tuple[Path, Path]:
    """Return a path where no file is, and that of a new, empty file which becomes the copy there.

    Two processes never get the same.
    """
    while True:
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        kept = path.with_name(f"{path.name}.{why}-{stamp}")
        part = kept.with_name(f"{kept.name}.part")
        with suppress(FileExistsError):  # another process copies at the same moment
            sqlite_replace.create_like(part, path)
            if not kept.exists():
                return kept, part
            part.unlink()
