"""Puts a rebuilt SQLite database in the place of the former one, even if the process is killed in between.

Two files have to be replaced, the database and its log, and no file system renames two at once. So the rebuilt database
first gets a name that says it is whole: that one rename decides. From then on whoever opens the registry does the rest,
which may be done any number of times.
"""

import glob
import os
import shutil
import stat
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from registry.crash_points import crash_point
from registry.errors import file_errors
from registry.file_stores import sync_folder

_WHOLE = "rebuilt-"
_BEFORE = "before-"


def put_in_place(path: Path, fresh: Path) -> Path | None:
    """Put `fresh`, a whole database without a log, at `path`; return where the former one is kept.

    Raises:
        RegistryError: the folder cannot be written.
    """
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    with file_errors(path.parent, "rebuild the registry in"):
        crash_point("rename database")
        fresh.replace(path.with_name(f"{path.name}.{_WHOLE}{stamp}"))
        sync_folder(path.parent)
    finish(path)
    backup = path.with_name(f"{path.name}.{_BEFORE}{stamp}")
    return backup if backup.exists() else None


def finish(path: Path) -> None:
    """Do the rest of a `put_in_place` that was killed. Does nothing where there was none."""
    with file_errors(path.parent, "finish rebuilding the registry in"):
        for whole in sorted(path.parent.glob(f"{glob.escape(path.name)}.{_WHOLE}*")) if path.parent.is_dir() else []:
            _finish(path, whole, path.with_name(whole.name.replace(f".{_WHOLE}", f".{_BEFORE}")))


def _finish(path: Path, whole: Path, backup: Path) -> None:
    if not backup.exists():
        # The log goes first: SQLite would replay one that stays behind into the next database.
        with suppress(FileNotFoundError):
            crash_point("set the log aside")
            wal(path).replace(wal(backup))
        shm(path).unlink(missing_ok=True)
        if path.exists():
            crash_point("set the database aside")
            _link(path, backup)
    crash_point("put the database in place")
    with suppress(FileNotFoundError):  # another process was faster
        whole.replace(path)
    sync_folder(path.parent)


def _link(path: Path, backup: Path) -> None:
    """Give the database a second name, so that `path` is there at every moment; copy it where links cannot be made."""
    try:
        os.link(path, backup)
    except FileExistsError:
        return
    except OSError:
        part = backup.with_name(f"{backup.name}.part")
        part.unlink(missing_ok=True)
        create_like(part, path)
        shutil.copyfile(path, part)
        part.replace(backup)


def create_like(path: Path, other: Path) -> None:
    """Create an empty file with the owner, group and mode of another, where there is one, before anything is in it.

    Where this user may not give it the same group, the group gets no rights: it could be a larger one.
    """
    with suppress(FileNotFoundError):
        wanted = other.stat()
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        give_rights(path, wanted)


def give_rights(path: Path, wanted: os.stat_result, more: int = 0) -> None:
    """Give a file or a folder the owner, group and mode of another, as far as this user may, and these bits of mode."""
    mode = stat.S_IMODE(wanted.st_mode) & ~stat.S_ISUID | more
    if os.name == "posix":
        try:
            os.chown(path, wanted.st_uid, wanted.st_gid)
        except OSError:
            with suppress(OSError):
                os.chown(path, -1, wanted.st_gid)
        if path.stat().st_gid != wanted.st_gid:
            mode &= ~0o070
    path.chmod(mode)


def wal(path: Path) -> Path:
    """Return the path of the log of a database."""
    return path.with_name(f"{path.name}-wal")


def journal(path: Path) -> Path:
    """Return the path of the journal that a database has while it is made, before it has a log."""
    return path.with_name(f"{path.name}-journal")


def shm(path: Path) -> Path:
    """Return the path of the memory that the users of a database share."""
    return path.with_name(f"{path.name}-shm")
