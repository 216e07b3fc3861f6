"""A registry's database on a PostgreSQL server: everything that is PostgreSQL's and not SQL's.

The tables live in the first schema of the search path, which holds nothing else; `cl_ast_registry` among them says
which schema version they have. Writers are alone by an advisory lock of that schema, so readers never wait.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from cl_ast.errors import RegistryError
from registry import schema
from registry.database import Asking, Database, Rows, Writing
from registry.errors import not_writable
from registry.steps import reached

try:
    import psycopg
except ImportError as missing:
    raise RegistryError("a registry on PostgreSQL needs psycopg: pip install 'cl-ast[postgres]'") from missing

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_MARK = "cl_ast_registry"
_BUSY_SECONDS = 30
_CONNECT_SECONDS = 10
_LOCK = f"SELECT pg_advisory_xact_lock({0x636C6173}, hashtext(current_schema()))"  # "clas"
_NEXT_ID = "SELECT setval(pg_get_serial_sequence('{0}', 'id'), (SELECT max(id) FROM {0}))"
_PROBE = f"""
    SELECT current_schema(), current_setting('server_encoding'),
        (SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()),
        (SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = '{_MARK}')"""
_MAY_WRITE = """
    SELECT NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::boolean
        AND has_table_privilege('versions', 'INSERT') AND has_table_privilege('versions', 'DELETE')"""
_BYTES = """
    SELECT coalesce(sum(pg_total_relation_size(format('%I.%I', schemaname, tablename)::regclass)), 0)
    FROM pg_tables WHERE schemaname = current_schema()"""


class Server:
    """A database on a server, by its libpq URL. Of the URL only `place` is ever shown."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.place, self._password = _masked(url)

    def open(self) -> Database | None:
        with self.connection() as connection:
            where, encoding, tables, marks = connection.execute(_PROBE).fetchone() or ("", "", 0, 0)
            if where is None:
                raise RegistryError(f"{self.place} has no schema for the tables: create the one in the search path")
            if encoding != "UTF8":
                raise RegistryError(f"{self.place} is encoded as {encoding}; a registry needs a database in UTF8")
            if not tables:
                return None
            if not marks:
                raise schema.something_else(self.place)
            version = _version(connection.execute)
            writable = bool((connection.execute(_MAY_WRITE).fetchone() or (False,))[0])
        database = PostgresDatabase(self, writable)
        if schema.check(self.place, version):
            database.upgrade(version)
        return database

    def make(self) -> Database:
        database = PostgresDatabase(self, True)
        with database.write() as writing:
            connection = writing.session.connection()
            if not (connection.exec_driver_sql(_PROBE).one())[3]:
                _make_tables(connection)
        return database

    def rebuild(self, fill: Callable[[Writing], None]) -> str | None:
        """In one transaction: the former tables move to a schema of their own, and new ones take their place."""
        database = PostgresDatabase(self, True)
        former = None
        with database.write() as writing:
            connection = writing.session.connection()
            where, _, tables, marks = connection.exec_driver_sql(_PROBE).one()
            if tables and not marks:
                raise schema.something_else(self.place)
            if tables:
                former = f"{where}_before_{datetime.now(UTC):%Y%m%dt%H%M%S%f}"
                _move_tables(connection, former)
            _make_tables(connection)
            fill(writing)
        return former and f"schema {former} of {self.place}"

    @contextmanager
    def connection(self) -> Iterator["psycopg.Connection[tuple[Any, ...]]"]:
        """One of its own, rolled back and closed at the end."""
        with self.translated(), closing(self.connect()) as connection:
            yield connection

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        more: dict[str, Any] = {"client_encoding": "utf8"}
        if "connect_timeout=" not in self._url:
            more["connect_timeout"] = _CONNECT_SECONDS
        # Nothing prepared on the server: a pooler may stand between.
        return psycopg.connect(self._url, prepare_threshold=None, **more)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn a database error into a RegistryError that says what happened and what to do."""
        try:
            yield
        except psycopg.Error as error:
            # Not chained: what a driver quotes of a URL would stand in the traceback.
            raise self.translate(error) from None

    def translate(self, error: BaseException) -> RegistryError:
        said = " ".join(str(error).split())
        said = said.replace(self._password, "***") if self._password else said
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
    """The tables of a registry on a server."""

    def __init__(self, server: Server, writable: bool) -> None:
        self._server = server
        self.writable = writable

    @property
    def place(self) -> str:
        return self._server.place

    @contextmanager
    def read(self) -> Iterator[Asking]:
        with self._server.connection() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            yield _Reading(connection)

    @contextmanager
    def write(self) -> Iterator[Writing]:
        from sqlalchemy.exc import SQLAlchemyError
        from sqlalchemy.orm import Session

        if not self.writable:
            raise RegistryError(not_writable(self.place))
        with self._server.translated():
            try:
                with Session(self._engine, expire_on_commit=False) as session, session.begin():
                    connection = session.connection()
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_BUSY_SECONDS * 1000:.0f}ms'")
                    connection.exec_driver_sql(_LOCK)
                    writing = Writing(session, "%s", _NEXT_ID)
                    yield writing
                    writing.ready()
            except SQLAlchemyError as error:
                raise self._server.translate(getattr(error, "orig", None) or error) from None
        reached("committed")

    def damage(self) -> list[str]:
        """Nothing: the server checks its pages and its foreign keys itself, and says so when they are read."""
        return []

    def bytes(self) -> int:
        with self.read() as asking:
            return next(int(row[0]) for row in asking.ask(_BYTES))

    def close(self) -> None:
        """Every transaction has closed its connection."""

    def upgrade(self, found: int) -> None:
        """Bring the tables to this release's schema, all of it or nothing: the server undoes changes of tables too."""
        from registry.schema_upgrade import upgrade

        if not self.writable:
            raise RegistryError(
                f"{self.place} has an older schema ({found}; this cl-ast needs {schema.VERSION}) and cannot be written "
                "by you: let its owner open it once"
            )
        with self.write() as writing:
            connection = writing.session.connection()
            now = _version(connection.exec_driver_sql)
            if now < schema.VERSION:  # else another process was faster
                upgrade(connection, now, schema.VERSION)
                connection.exec_driver_sql(f"UPDATE {_MARK} SET schema_version = {int(schema.VERSION)}")

    @cached_property
    def _engine(self) -> "Engine":
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        # The URL stays with the driver, so that nothing here can print it.
        return create_engine(
            "postgresql+psycopg://", creator=self._server.connect, poolclass=NullPool, use_native_hstore=False
        )


class _Reading:
    def __init__(self, connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
        self._connection = connection

    def ask(self, sql: str, *values: object) -> Rows:
        return self._connection.execute(sql.replace("?", "%s").encode(), values or None).fetchall()


def _version(execute: Callable[..., Any]) -> int:
    return int(execute(f"SELECT schema_version FROM {_MARK}").fetchone()[0])


def _make_tables(connection: "Connection") -> None:
    from registry.models import Base

    Base.metadata.create_all(connection, checkfirst=False)
    connection.exec_driver_sql(f"CREATE TABLE {_MARK} (schema_version integer NOT NULL)")
    connection.exec_driver_sql(f"INSERT INTO {_MARK} VALUES ({int(schema.VERSION)})")


def _move_tables(connection: "Connection", target: str) -> None:
    """Every table, with its indexes, constraints and sequence, out of the way."""
    names = connection.exec_driver_sql("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").all()
    connection.exec_driver_sql(f'CREATE SCHEMA "{target}"')
    for (name,) in names:
        connection.exec_driver_sql(f'ALTER TABLE "{name}" SET SCHEMA "{target}"')


def _masked(url: str) -> tuple[str, str]:
    """The URL as people may read it, and the password that it held. Raises RegistryError where they cannot be told."""
    user, at, where = url.partition("://")[2].partition("?")[0].rpartition("@")
    name, _, password = user.partition(":")
    if "/" in user:
        raise RegistryError("a password in a URL is written with %2F for /, %40 for @, %3F for ? and %25 for %")
    return f"postgresql://{name}{at}{where}", unquote(password)
