"""A registry's database on a PostgreSQL server: everything that differs between PostgreSQL and another database.

The tables are in the first schema of the search path, which must have no other tables. The one called
`cl_ast_registry` says which version of our schema they have. An advisory lock lets in one writer at a time, so readers
never wait.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cl_ast.errors import RegistryError
from registry import passwords, schema
from registry.crash_points import crash_point
from registry.database import Database, Plan, Reader, Rows, Writer
from registry.errors import not_writable

try:
    import psycopg
    from psycopg import sql
except ImportError as missing:
    raise RegistryError("a registry on PostgreSQL needs psycopg: pip install 'cl-ast[postgres]'") from missing

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_VERSION_TABLE = "cl_ast_registry"
_BUSY_SECONDS = 30
_CONNECT_SECONDS = 10
_LONGEST_SCHEMA = 32  # bytes, of 63 that a name may have
_LOCK = f"SELECT pg_advisory_xact_lock({0x636C6173}, hashtext(current_schema()))"  # "clas"
_NEXT_ID = "SELECT setval(pg_get_serial_sequence('{0}', 'id'), (SELECT max(id) FROM {0}))"
_PROBE = f"""
    SELECT current_schema(), current_setting('server_encoding'),
        (SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()),
        (SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = '{_VERSION_TABLE}')"""
_MAY_WRITE = """
    SELECT NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::boolean
        AND has_table_privilege('versions', 'INSERT') AND has_table_privilege('versions', 'DELETE')"""
# Without a right to a sequence its last value is NULL.
_LAST_IDS = """
    SELECT left(sequencename, -7), last_value FROM pg_sequences
    WHERE schemaname = current_schema() AND sequencename LIKE '%_id_seq' AND last_value IS NOT NULL"""
_RAISE_ID = "SELECT setval(pg_get_serial_sequence('{0}', 'id'), greatest({1}, (SELECT max(id) FROM {0})))"
_BYTES = """
    SELECT coalesce(sum(pg_total_relation_size(format('%I.%I', schemaname, tablename)::regclass)), 0)
    FROM pg_tables WHERE schemaname = current_schema()"""


class PostgresLocation:
    """A database on a server, by its libpq URL; see `DatabaseLocation`. Only `place` is ever shown of the URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.place, self._secrets = passwords.separated(url)

    def open(self) -> Database | None:
        with self.connection() as connection:
            where, encoding, tables, version_tables = connection.execute(_PROBE).fetchone() or ("", "", 0, 0)
            if where is None:
                raise RegistryError(f"{self.place} has no schema for the tables: create the one in the search path")
            if encoding != "UTF8":
                raise RegistryError(f"{self.place} is encoded as {encoding}; a registry needs a database in UTF8")
            if not tables:
                return None
            if not version_tables:
                raise schema.something_else(self.place)
            version = _version(connection.execute)
            writable = bool((connection.execute(_MAY_WRITE).fetchone() or (False,))[0])
        database = PostgresDatabase(self, writable)
        if schema.check(self.place, version):
            database.upgrade(version)
        return database

    def make(self) -> Database:
        database = PostgresDatabase(self, True)
        with database.write() as writer:
            connection = writer.session.connection()
            if not (connection.exec_driver_sql(_PROBE).one())[3]:
                _make_tables(connection)
        return database

    def rebuild(self, plan: Plan) -> str | None:
        """In one transaction, move the former tables to a schema of their own, and put new ones in their place."""
        with suppress(RegistryError):
            self.open()  # a former database of an earlier cl-ast gets its new tables first
        database = PostgresDatabase(self, True)
        former = None
        with database.write() as writer:
            connection = writer.session.connection()
            where, _, tables, version_tables = connection.exec_driver_sql(_PROBE).one()
            if tables and not version_tables:
                raise schema.something_else(self.place)
            older = bool(tables) and schema.check(self.place, _version(connection.exec_driver_sql))
            fill = plan(writer if tables and not older else None)
            if tables:
                short = where.encode()[:_LONGEST_SCHEMA].decode(errors="ignore")  # the server would cut off the time
                former = f"{short}_before_{datetime.now(UTC):%Y%m%dt%H%M%S%f}"
                _move_tables(connection, former)
            _make_tables(connection)
            fill(writer)
        return former and f"schema {former} of {self.place}"

    @contextmanager
    def connection(self) -> Iterator["psycopg.Connection[tuple[Any, ...]]"]:
        """Open a connection, which is rolled back and closed at the end."""
        with self.translated(), closing(self.connect()) as connection:
            yield connection

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        more: dict[str, Any] = {"client_encoding": "utf8"}
        if "connect_timeout=" not in self._url:
            more["connect_timeout"] = _CONNECT_SECONDS
        # No statement is prepared on the server: behind a pooler the next one may run on another connection.
        return psycopg.connect(self._url, prepare_threshold=None, **more)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn a database error into a RegistryError that says what happened and what to do."""
        try:
            yield
        except psycopg.Error as error:
            # The cause is left out of the traceback, since a driver's message may quote the URL with its password.
            raise self.translate(error) from None

    def translate(self, error: BaseException) -> RegistryError:
        """Return a RegistryError that says what happened and what to do, without the password."""
        said = passwords.masked(" ".join(str(error).split()), self._secrets)
        match getattr(error, "sqlstate", None):
            case "55P03":
                what = (
                    f"another process has kept {self.place} busy for {_BUSY_SECONDS} seconds; "
                    "nothing was changed, try again when it is done"
                )
            case "53100":
                what = f"no space is left for {self.place}; nothing was changed, free some and try again"
            case "42501" | "25006":
                what = f"{not_writable(self.place)} ({said})"
            case None:
                what = f"cannot reach {self.place}: {said}; check the URL, the server and the network"
            case _:
                what = f"{self.place} refused: {said}"
        return RegistryError(what)


class PostgresDatabase:
    """The tables of a registry on a server; see `Database`."""

    def __init__(self, location: PostgresLocation, writable: bool) -> None:
        self._location = location
        self.writable = writable

    @property
    def place(self) -> str:
        return self._location.place

    @contextmanager
    def read(self, *, every_table: bool = False) -> Iterator[Reader]:
        with self._location.connection() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            if every_table:  # before the first query, which decides what the transaction sees
                connection.execute(_waiting().encode())
                connection.execute(_lock(schema.TABLES - {"sqlite_sequence"}, "ACCESS SHARE").encode())
            yield _PostgresReader(connection)

    def stamp(self) -> None:
        """Return nothing: only a query tells."""

    @contextmanager
    def write(self) -> Iterator[Writer]:
        from sqlalchemy.exc import SQLAlchemyError
        from sqlalchemy.orm import Session

        if not self.writable:
            raise RegistryError(not_writable(self.place))
        with self._location.translated():
            try:
                with Session(self._engine, expire_on_commit=False) as session, session.begin():
                    connection = session.connection()
                    connection.exec_driver_sql(_waiting())
                    connection.exec_driver_sql(_LOCK)
                    writer = Writer(session, "%s", _NEXT_ID, (_RAISE_ID,))
                    yield writer
                    writer.finish()
            except SQLAlchemyError as error:
                raise self._location.translate(getattr(error, "orig", None) or error) from None
        crash_point("committed")

    def damage(self) -> list[str]:
        """Return nothing: the server checks its pages and foreign keys itself, and reading a damaged page fails."""
        return []

    def bytes(self) -> int:
        with self.read() as reader:
            return next(int(row[0]) for row in reader.query(_BYTES))

    def last_ids(self, reader: Reader) -> Mapping[str, int]:
        return {name: int(id) for name, id in reader.query(_LAST_IDS)}

    def close(self) -> None:
        """Do nothing: every transaction has closed its connection."""

    def upgrade(self, found: int) -> None:
        """Bring the tables to this release's schema, all of it or nothing: the server undoes changes of tables too."""
        from registry.schema_upgrade import upgrade

        if not self.writable:
            raise RegistryError(
                f"{self.place} has an older schema ({found}; this cl-ast needs {schema.VERSION}) and cannot be written "
                "by you: let its owner open it once"
            )
        with self.write() as writer:
            connection = writer.session.connection()
            now = _version(connection.exec_driver_sql)
            if now < schema.VERSION:  # else another process was faster
                upgrade(connection, now, schema.VERSION)
                connection.exec_driver_sql(f"UPDATE {_VERSION_TABLE} SET schema_version = {int(schema.VERSION)}")

    @cached_property
    def _engine(self) -> "Engine":
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        # SQLAlchemy is not given the URL, so that it cannot print the password.
        return create_engine(
            "postgresql+psycopg://", creator=self._location.connect, poolclass=NullPool, use_native_hstore=False
        )


class _PostgresReader:
    """One reading transaction."""

    def __init__(self, connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
        self._connection = connection

    def query(self, sql: str, *values: object) -> Rows:
        return self._connection.execute(sql.replace("?", "%s").encode(), values or None).fetchall()


def _version(execute: Callable[..., Any]) -> int:
    return int(execute(f"SELECT schema_version FROM {_VERSION_TABLE}").fetchone()[0])


def _make_tables(connection: "Connection") -> None:
    from registry.models import create_tables

    create_tables(connection)
    connection.exec_driver_sql(f"CREATE TABLE {_VERSION_TABLE} (schema_version integer NOT NULL)")
    connection.exec_driver_sql(f"INSERT INTO {_VERSION_TABLE} VALUES ({int(schema.VERSION)})")


def _move_tables(connection: "Connection", target: str) -> None:
    """Move every table, with its indexes, constraints and sequence, to another schema."""
    found = connection.exec_driver_sql("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").all()
    names = [str(name) for (name,) in found]
    connection.exec_driver_sql(_lock(names, "ACCESS EXCLUSIVE").replace("%", "%%"))
    connection.exec_driver_sql(f"CREATE SCHEMA {_quoted(target)}")
    for name in names:
        connection.exec_driver_sql(f"ALTER TABLE {_quoted(name)} SET SCHEMA {_quoted(target)}")


def _waiting() -> str:
    """Return the statement that bounds how long a transaction waits for others."""
    return f"SET LOCAL lock_timeout = '{_BUSY_SECONDS * 1000:.0f}ms'"


def _lock(tables: Iterable[str], mode: str) -> str:
    """Return the statement that locks tables, always in the same order: so nobody waits for one who waits for him."""
    return f"LOCK TABLE {', '.join(sql.Identifier(name).as_string(None) for name in sorted(tables))} IN {mode} MODE"


def _quoted(name: str) -> str:
    """Return a name, whoever chose it, as it stands in a statement that the driver also looks through for `%`."""
    return sql.Identifier(name).as_string(None).replace("%", "%%")
