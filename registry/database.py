"""The database of a registry: opened or made, used in short transactions, its errors in plain words.

Everything that is SQLite's and not SQL's is in this file. Each transaction has a connection of its own:
nothing is shared between threads, carried over a fork or left open between two calls.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import upgrading
from registry.files import file_errors, size
from registry.models import SCHEMA_VERSION, Base
from registry.steps import reached

_APPLICATION_ID = 0x636C6173  # "clas"
_BUSY_SECONDS = 30
_BEGIN = "cl_ast_begin"

Access = Literal["rwc", "rw", "ro", "immutable"]


class Database:
    """One `registry.db`. Use `Database.open` or `Database.make`."""

    def __init__(self, path: Path, access: Access) -> None:
        self.path = path
        self.writable = access in {"rwc", "rw"} and os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
        engine = create_engine("sqlite://", creator=lambda: connect(path, access), poolclass=NullPool)

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql(str(connection.get_execution_options().get(_BEGIN, "BEGIN")))

        self._engine = engine
        # A writer takes its lock at once: later, SQLite would refuse it rather than let it wait.
        self._writer = engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})

    @classmethod
    def open(cls, path: Path) -> "Database | None":
        """The database there, for reading only where the place allows no more; None where no table is.

        An older schema is upgraded, with a backup beside it. Raises RegistryError where it is none of ours or of
        a newer cl-ast, CorruptRegistryError where it is damaged.
        """
        with file_errors(path, "look at"):
            if not path.exists():
                return None
        with translated(path):
            access, application, version, tables = _probe(path)
        if not tables:
            return None
        if application != _APPLICATION_ID:
            raise RegistryError(f"{path} is a database of something else, not a cl-ast registry; name another folder")
        if version > SCHEMA_VERSION:
            raise RegistryError(
                f"{path} was written by a newer cl-ast (schema {version}; this one knows {SCHEMA_VERSION}): "
                "upgrade with `pip install --upgrade cl-ast`"
            )
        database = cls(path, access)
        if version < SCHEMA_VERSION:
            upgrading.upgrade(database, version, SCHEMA_VERSION)
        return database

    @classmethod
    def make(cls, path: Path) -> "Database":
        """A database with empty tables, unless another process was faster. Raises RegistryError."""
        with translated(path):
            _use_wal(path)
        database = cls(path, "rwc")
        with database.write() as session:
            connection = session.connection()
            if not connection.exec_driver_sql("PRAGMA user_version").scalar():
                Base.metadata.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
        return cls(path, "rw")

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that sees one state of the registry throughout. It never waits for a writer."""
        with translated(self.path), Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that is alone in writing: committed at the end, rolled back whole on any error."""
        if not self.writable:
            raise RegistryError(_not_writable(self.path))
        with translated(self.path), Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session
            session.flush()
            reached("commit")
        reached("committed")

    def damage(self) -> list[str]:
        """What SQLite itself finds wrong."""
        with self.read() as session:
            connection = session.connection()
            found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check")]
            orphans = list(connection.exec_driver_sql("PRAGMA foreign_key_check"))
        return [line for line in found if line != "ok"] + [f"a row of {row[0]} points nowhere" for row in orphans]

    def bytes(self) -> int:
        """On disk, with what SQLite has not yet written back."""
        return size(self.path) + size(wal(self.path))

    def close(self) -> None:
        self._engine.dispose()


def connect(path: Path, access: Access) -> sqlite3.Connection:
    """A plain connection with the settings that every one of ours has."""
    query = "mode=ro&immutable=1" if access == "immutable" else f"mode={access}"
    connection = sqlite3.connect(f"{path.as_uri()}?{query}", uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")  # what was committed outlives a power loss
    return connection


def wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def journal(path: Path) -> Path:
    """Of a database that was being made, before it had a log."""
    return path.with_name(f"{path.name}-journal")


def shm(path: Path) -> Path:
    return path.with_name(f"{path.name}-shm")


def _probe(path: Path) -> tuple[Access, int, int, int]:
    """The most access that the place allows, with application id, schema version and number of tables."""
    modes: list[Access] = ["rw", "ro"]
    # In a folder that cannot be written SQLite has no place for its shared memory, and must be told that
    # nobody writes. With changes still in the log beside the database, that would read a past state.
    if not size(wal(path)):
        modes.append("immutable")
    for access in modes:
        try:
            with closing(connect(path, access)) as connection:
                application, version, tables = (
                    int(connection.execute(query).fetchone()[0])
                    for query in (
                        "PRAGMA application_id",
                        "PRAGMA user_version",
                        "SELECT count(*) FROM sqlite_master",
                    )
                )
            return access, application, version, tables
        except sqlite3.OperationalError as error:
            if access == modes[-1] or _code(error) not in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
                raise
    raise AssertionError("unreachable")


def _use_wal(path: Path) -> None:
    """Readers and a writer side by side. The switch is the one step where SQLite does not wait by itself."""
    give_up = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            with closing(connect(path, "rwc")) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn a database error into a RegistryError that says what happened and what to do."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None)
        raise _translate(path, cause if isinstance(cause, Exception) else error) from error
    except sqlite3.Error as error:
        raise _translate(path, error) from error


def _translate(path: Path, error: Exception) -> RegistryError:
    match _code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return RegistryError(
                f"another process has kept {path} busy for {_BUSY_SECONDS} seconds; "
                "nothing was changed, try again when it is done"
            )
        case sqlite3.SQLITE_FULL:
            return RegistryError(f"no space is left for {path}; nothing was changed, free some and try again")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return RegistryError(_not_writable(path))
        case sqlite3.SQLITE_CANTOPEN:
            return RegistryError(f"cannot open {path}: check that it exists and that you may read its folder")
        case sqlite3.SQLITE_IOERR:
            return RegistryError(f"the disk failed at {path} ({error}); free space, check the disk, try again")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return CorruptRegistryError(
                f"{path} is damaged ({error}); the adapters are files of their own: "
                "run `cl-ast rebuild` to restore the database from them"
            )
        case _:
            return RegistryError(f"{path} refused: {error}")


def _code(error: Exception) -> int:
    """SQLite's primary error code, 0 for another error."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def _not_writable(path: Path) -> str:
    return (
        f"the registry in {path.parent} cannot be written by you, only read; "
        "change the folder's permissions or name another registry"
    )
