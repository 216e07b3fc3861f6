"""A registry's database as an SQLite file: everything that differs between SQLite and another database."""

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import schema, sqlite_backup, sqlite_replace, sqlite_untrusted
from registry.crash_points import crash_point
from registry.database import Database, Plan, Reader, Rows, Stamp, Writer
from registry.errors import file_errors, not_writable
from registry.file_stores import size, sync_folder
from registry.sqlite_connections import BUSY_SECONDS, Access, any_text, code, connect, connect_to_read, probe
from registry.sqlite_errors import translate, translated
from registry.sqlite_stamp import Stamps

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_APPLICATION_ID = 0x636C6173  # "clas"
_RAISE_ID = (
    "INSERT INTO sqlite_sequence (name, seq) SELECT '{0}', 0 "
    "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = '{0}')",
    "UPDATE sqlite_sequence SET seq = max(seq, {1}) WHERE name = '{0}'",
)


class SqliteLocation:
    """Where a `registry.db` is, or will be; see `DatabaseLocation`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def place(self) -> str:
        return str(self.path)

    def open(self) -> Database | None:
        """Open the database, for reading only if this user may not write. An upgrade leaves a backup beside it."""
        path = self.path
        sqlite_replace.finish(path)
        with file_errors(path, "look at"):
            if not path.exists():
                return None
        sqlite_untrusted.check_journal(path, sqlite_replace.journal(path))
        with translated(path):
            access, application, version, tables = probe(path)
        if not tables:
            return None
        if application != _APPLICATION_ID:
            raise schema.something_else(self.place)
        database = SqliteDatabase(path, access)
        older = schema.check(self.place, version)
        with translated(path), closing(database.connect_to_read()) as connection:
            sqlite_untrusted.check_content(path, connection, complete=not older)
        if older:
            database.upgrade(version)
        return database

    def make(self) -> Database:
        with file_errors(self.path.parent, "make a registry in"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with translated(self.path):
                _use_wal(self.path)
            database = SqliteDatabase(self.path, "rwc")
            database.make_tables()
            sync_folder(self.path.parent)
        return SqliteDatabase(self.path, "rw")

    def rebuild(self, plan: Plan) -> str | None:
        """Make the tables again inside the database, whose lock keeps others out; a copy of the former one is kept.

        A database that is lost or damaged has no lock. A new one is made beside it and takes its place.
        """
        database = self._sound()
        if database is None:
            return self._replace(plan)
        with database.write() as writer:
            fill = plan(writer)
            kept = sqlite_backup.copy(self.path, "before")
            database.empty(writer)
            fill(writer)
        return str(kept)

    def _sound(self) -> "SqliteDatabase | None":
        """Return the database; None where it is lost or damaged. Raises RegistryError where it is no registry."""
        try:
            database = self.open()
            if database is None or any("points nowhere" not in line for line in database.damage()):
                return None
        except CorruptRegistryError:
            return None
        return SqliteDatabase(self.path, "rw")

    def _replace(self, plan: Plan) -> str | None:
        """Make the new database under a name of its own first; the former one is renamed, not deleted."""
        path = self.path
        sqlite_replace.finish(path)
        fill = plan(None)
        fresh = path.with_name(f"{path.name}.rebuilding")
        with file_errors(path.parent, "rebuild the registry in"):
            # What a killed rebuilding left here goes, since SQLite would replay the first two.
            for leftover in (
                sqlite_replace.journal(fresh),
                sqlite_replace.wal(fresh),
                sqlite_replace.shm(fresh),
                fresh,
            ):
                leftover.unlink(missing_ok=True)
            sqlite_replace.create_like(fresh, path)
            database = SqliteLocation(fresh).make()
            with database.write() as writer:
                fill(writer)
            database.close()
        former = sqlite_replace.put_in_place(path, fresh)
        return None if former is None else str(former)


class SqliteDatabase:
    """One open `registry.db`; see `Database`."""

    def __init__(self, path: Path, access: Access) -> None:
        self.path = path
        self._access = access
        self._stamps = Stamps(path)
        self.writable = access in {"rwc", "rw"} and os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)

    @property
    def place(self) -> str:
        return str(self.path.parent)

    @contextmanager
    def read(self, *, every_table: bool = False) -> Iterator[Reader]:
        with translated(self.path), closing(self.connect_to_read()) as connection:
            yield _SqliteReader(connection)

    def stamp(self) -> Stamp | None:
        return self._stamps.now()

    @contextmanager
    def write(self) -> Iterator[Writer]:
        from sqlalchemy.exc import SQLAlchemyError
        from sqlalchemy.orm import Session

        if not self.writable:
            raise RegistryError(not_writable(self.place))
        with translated(self.path):
            try:
                with Session(_engine(self.path, self._access), expire_on_commit=False) as session, session.begin():
                    writer = Writer(session, "?", raise_id=_RAISE_ID)
                    yield writer
                    writer.finish()
            except SQLAlchemyError as error:
                raise translate(self.path, getattr(error, "orig", None) or error) from error
        crash_point("committed")

    def damage(self) -> list[str]:
        with self.read() as reader:
            found = [str(row[0]) for row in reader.query("PRAGMA integrity_check")]
            orphans = list(reader.query("PRAGMA foreign_key_check"))
        return [line for line in found if line != "ok"] + [f"a row of {row[0]} points nowhere" for row in orphans]

    def bytes(self) -> int:
        """Return the size on disk, with the log that SQLite has not yet written back."""
        return size(self.path) + size(sqlite_replace.wal(self.path))

    def close(self) -> None:
        """Do nothing: every transaction has closed its connection."""

    def make_tables(self) -> None:
        """Make the tables, unless another process has done so."""
        from registry.models import create_tables

        with self.write() as writer:
            connection = writer.session.connection()
            if not connection.exec_driver_sql("PRAGMA user_version").scalar():
                create_tables(connection)
                connection.exec_driver_sql(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.exec_driver_sql(f"PRAGMA user_version = {int(schema.VERSION)}")

    def empty(self, writer: Writer) -> None:
        """Make all tables again, in a transaction of the caller's. Ids that were given are not given again."""
        from registry.models import Base, create_tables

        connection = writer.session.connection()
        last = self.last_ids(writer)
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        for table in reversed(Base.metadata.sorted_tables):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table.name}")
        create_tables(connection)
        writer.raise_ids(last)

    def last_ids(self, reader: Reader) -> Mapping[str, int]:
        found = reader.query("SELECT name, seq FROM sqlite_sequence")
        return {name: int(id) for name, id in found if name in schema.TABLES}

    def upgrade(self, found: int) -> None:
        """Bring the tables to this release's schema, and keep a copy of the former database beside it."""
        from registry.schema_upgrade import upgrade

        if not self.writable:
            raise RegistryError(
                f"{self.path} has an older schema ({found}; this cl-ast needs {schema.VERSION}) and cannot be written "
                "by you: open it once where it can be, or copy it"
            )
        kept = sqlite_backup.copy(self.path, f"schema-{found}")
        with self.write() as writer:
            connection = writer.session.connection()
            now = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
            if now < schema.VERSION:
                upgrade(connection, now, schema.VERSION)
                connection.exec_driver_sql(f"PRAGMA user_version = {int(schema.VERSION)}")
        if now >= schema.VERSION:  # another process was faster
            kept.unlink(missing_ok=True)

    def connect_to_read(self) -> sqlite3.Connection:
        """Return a new connection in a transaction. Without rights, each looks again whether the owner is writing."""
        if not self.writable:
            return connect_to_read(self.path)
        connection = connect(self.path, self._access)
        connection.execute("BEGIN")
        return connection


class _SqliteReader:
    """One reading transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def query(self, sql: str, *values: object) -> Rows:
        """Return the rows. Where a text is not UTF-8, they are read once more with its bytes as half characters."""
        done = 0
        try:
            for row in self._connection.execute(sql, values):
                yield row
                done += 1
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
            self._connection.text_factory = any_text
            yield from islice(self._connection.execute(sql, values), done, None)


@lru_cache(maxsize=8)
def _engine(path: Path, access: Access) -> "Engine":
    """Return the engine that writes to a database. It keeps no connection, only the statements that it compiled."""
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import NullPool

    def connect_to_write() -> sqlite3.Connection:
        connection = connect(path, access)
        connection.text_factory = any_text  # a text that is not UTF-8 concerns its own row only
        return connection

    engine = create_engine("sqlite://", creator=connect_to_write, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin(connection: "Connection") -> None:
        # A writer locks the database at once. Later on SQLite would refuse the lock instead of waiting for it.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _use_wal(path: Path) -> None:
    """Let readers and a writer work side by side. This is the one step where SQLite does not wait by itself."""
    give_up = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            with closing(connect(path, "rwc")) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
