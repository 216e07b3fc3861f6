"""A rebuilt SQLite database takes the place of the former one, whatever happens in between.

Two files change place, the database and its log, and no file system renames two at once. So the rebuilt database first
gets a name that says it is whole: that one rename decides. From then on whoever opens the registry finishes the rest,
which may be done any number of times.
"""

import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from registry.errors import file_errors
from registry.file_stores import sync_folder
from registry.steps import reached

_WHOLE = "rebuilt-"
_BEFORE = "before-"


def put_in_place(path: Path, fresh: Path) -> Path | None:
    """Let `fresh`, a whole database without a log, be the one at `path`; returns where the former is kept.

    Raises RegistryError where the folder cannot be written.
    """
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    with file_errors(path.parent, "rebuild the registry in"):
        reached("rename database")
        fresh.replace(path.with_name(f"{path.name}.{_WHOLE}{stamp}"))
        sync_folder(path.parent)
    finish(path)
    backup = path.with_name(f"{path.name}.{_BEFORE}{stamp}")
    return backup if backup.exists() else None


def finish(path: Path) -> None:
    """Go on with what a killed `put_in_place` had decided. Does nothing where there was none."""
    with file_errors(path.parent, "finish rebuilding the registry in"):
        for whole in sorted(path.parent.glob(f"{path.name}.{_WHOLE}*")) if path.parent.is_dir() else []:
            _finish(path, whole, path.with_name(whole.name.replace(f".{_WHOLE}", f".{_BEFORE}")))


def _finish(path: Path, whole: Path, backup: Path) -> None:
    if not backup.exists():
        # The log first: left behind, it would be replayed into the next database.
        with suppress(FileNotFoundError):
            reached("set the log aside")
            wal(path).replace(wal(backup))
        shm(path).unlink(missing_ok=True)
        if path.exists():
            reached("set the database aside")
            _link(path, backup)
    reached("put the database in place")
    with suppress(FileNotFoundError):  # another process was faster
        whole.replace(path)
    sync_folder(path.parent)


def _link(path: Path, backup: Path) -> None:
    """A second name, so that there is a database at `path` at every moment; a copy where links are not known."""
    try:
        os.link(path, backup)
    except FileExistsError:
        return
    except OSError:
        part = backup.with_name(f"{backup.name}.part")
        shutil.copy2(path, part)
        part.replace(backup)


def wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def journal(path: Path) -> Path:
    """Of a database that was being made, before it had a log."""
    return path.with_name(f"{path.name}-journal")


def shm(path: Path) -> Path:
    return path.with_name(f"{path.name}-shm")
