"""Connects to an SQLite file, as one who may write or as one who may only read while its owner writes."""

import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal

from registry import sqlite_replace, sqlite_untrusted

BUSY_SECONDS = 30
Access = Literal["rwc", "rw", "ro"]
_TRIES = 50
_WITHOUT_RIGHTS = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
# Where a file says which kind of log it needs, and what it says that needs none.
_LOG_AT, _NO_LOG = slice(18, 20), b"\x01\x01"


def connect(path: Path, access: Access) -> sqlite3.Connection:
    """Return a new connection with the settings that all connections here have."""
    uri = f"{path.as_uri()}?mode={access}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        if access != "ro":
            connection.execute("PRAGMA synchronous = FULL")  # what was committed outlives a power loss
        sqlite_untrusted.limit(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Return a connection of a user who may not write, whose owner may write at any moment; in a transaction.

    The transaction is what keeps the log where it is until the connection is closed. Without it, a later query would be
    refused if the owner came or went in between.
    While the owner writes, the log and the shared memory beside the file keep both apart. Without them SQLite opens
    nothing that it may not write to, and nobody writes: the file is read whole, as it is at one moment.
    """
    for left in reversed(range(_TRIES)):
        connection = connect(path, "ro")
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return connection
        except sqlite3.OperationalError as error:
            connection.close()
            if code(error) not in _WITHOUT_RIGHTS:
                raise
            whole = _at_one_moment(path)
            if whole is not None:
                return _in_memory(path, whole)
            if not left:
                raise
        time.sleep(0.01)  # the owner came or went just now
    raise AssertionError("unreachable")


def probe(path: Path) -> tuple[Access, int, int, int]:
    """Return the most access that is allowed, the application id, the schema version and the number of tables."""
    access: Access = "rw"
    try:
        with closing(connect(path, access)) as connection:
            return access, *_identity(connection)
    except sqlite3.OperationalError as error:
        if code(error) not in _WITHOUT_RIGHTS:
            raise
    with closing(connect_to_read(path)) as connection:
        return "ro", *_identity(connection)


def _identity(connection: sqlite3.Connection) -> tuple[int, int, int]:
    queries = ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    application, version, tables = (int(connection.execute(query).fetchone()[0]) for query in queries)
    return application, version, tables


def code(error: BaseException) -> int:
    """Return SQLite's primary error code; 0 for any other error."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def any_text(data: bytes) -> str:
    """Return a text whatever its bytes: those that are not UTF-8 become half characters."""
    return data.decode(errors="surrogateescape")


def _at_one_moment(path: Path) -> bytes | None:
    """Return the bytes of a database that nobody has open; None where somebody came meanwhile.

    A writer has a log from before its first change of the file until after its last one. So where there is no log
    before, between and after two readings that are equal, no change fell into either.
    """
    first: bytes | None = None
    with suppress(OSError):
        for _ in range(2):
            if sqlite_replace.wal(path).exists():
                return None
            data = path.read_bytes()
            if first is None:
                first = data
        return None if data != first or sqlite_replace.wal(path).exists() else data
    return None


def _in_memory(path: Path, data: bytes) -> sqlite3.Connection:
    copy = bytearray(data)
    if data.startswith(b"SQLite format 3\0"):
        copy[_LOG_AT] = _NO_LOG
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(copy)
    sqlite_untrusted.limit(connection, path)
    connection.execute("BEGIN")
    return connection
