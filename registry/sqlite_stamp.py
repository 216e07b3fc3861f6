"""Whether an SQLite database may have changed, from what the file system says of it, without opening it.

To open a database, to query it and to close it takes a millisecond or two, which who answers clips would spend on each
batch.

On a network file system a change by another machine is seen later, by default within a minute: SQLite's log is for
processes of one machine. A team's registry is in PostgreSQL.
"""

import os
import time
from pathlib import Path

from registry import sqlite_replace
from registry.database import Stamp

SETTLED_SECONDS = 3.0
"""A file that was changed so long ago gets another time with its next change, on every file system (FAT counts by two
seconds)."""


class Stamps:
    """The stamps of one database; one is taken in a few microseconds."""

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._open = [os.fspath(one) for one in (sqlite_replace.wal(path), sqlite_replace.journal(path))]

    def now(self) -> Stamp | None:
        """Return what is different after every later change of the database; None where that cannot be promised.

        Only a database that nobody has open has one. A change goes to the log first, and the file itself is written
        before the last who has it open removes the log. Its inode differs when another file is put in its place. The
        time is that of the inode, which no program can set.
        """
        if os.name != "posix":  # Windows has no such time
            return None
        try:
            found = os.stat(self._path)  # noqa: PTH116
        except OSError:
            return None
        if time.time() - found.st_ctime < SETTLED_SECONDS or any(map(os.path.lexists, self._open)):
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns
