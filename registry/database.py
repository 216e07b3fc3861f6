"""What the rest of the registry needs of a database. `sqlite_database` and `postgres_database` are the two kinds.

Queries are plain SQL for the database's own driver: it has answered before SQLAlchemy would have been imported, and
importing is most of the time that listing tasks takes. Changes go through SQLAlchemy and the tables of `models`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from registry.crash_points import crash_point

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from registry.models import Base

Rows = Iterable[tuple[Any, ...]]
Stamp = tuple[int, ...]
"""What a database is known by as long as nothing is changed."""


class Reader(Protocol):
    """A transaction that can be queried."""

    def query(self, sql: str, *values: object) -> Rows:
        """Return the rows of one SELECT, which has a `?` for each value."""


@dataclass(frozen=True, slots=True)
class Writer:
    """A transaction that is the only one to write.

    Attributes:
        session: SQLAlchemy's, for changes.
        placeholder: what the database's driver expects in place of a `?`.
        update_ids: SQL after which a table gives no id that is taken, for a database that needs it; `{0}` in it is the
            table's name.
        raise_id: statements after which a table gives no id up to `{1}`.
    """

    session: "Session"
    placeholder: str
    update_ids: str = ""
    raise_id: Sequence[str] = ()

    def query(self, sql: str, *values: object) -> Rows:
        """Return the rows of one SELECT, which has a `?` for each value and sees what was changed so far."""
        self.session.flush()
        with closing(self.session.connection().connection.cursor()) as cursor:
            cursor.execute(sql.replace("?", self.placeholder), *([values] if values else ()))
            return cursor.fetchall()

    def insert(self, table: "type[Base]", values: Sequence[Mapping[str, object]]) -> None:
        """Insert many rows with the ids that they give; ids that the database gives later are higher than these."""
        from sqlalchemy import insert

        self.session.execute(insert(table), values)
        if self.update_ids:
            self.session.connection().exec_driver_sql(self.update_ids.format(table.__tablename__))

    def raise_ids(self, last: Mapping[str, int]) -> None:
        """Let tables of ours give only ids that are higher than these, and than those that they have."""
        for name, id in last.items():
            for sql in self.raise_id:
                self.session.connection().exec_driver_sql(sql.format(name, int(id)))

    def finish(self) -> None:
        """Send all changes to the database; the commit comes next."""
        self.session.flush()
        crash_point("commit")


class Database(Protocol):
    """An open database of a registry.

    Transactions are short and each has a connection of its own, so nothing is shared between threads, carried over a
    fork or left open between two calls.

    Attributes:
        place: where it is, for people to read; never with a password.
        writable: whether this user may change it.
    """

    @property
    def place(self) -> str: ...
    @property
    def writable(self) -> bool: ...

    def read(self, *, every_table: bool = False) -> AbstractContextManager[Reader]:
        """Begin a transaction that sees one state of the registry throughout. It never waits for a writer.

        Only with `every_table` it may wait for a rebuilding, and a rebuilding waits for it: on a server the tables
        themselves are replaced, which no transaction is kept from seeing.
        """

    def stamp(self) -> Stamp | None:
        """Return what is different after every later change; None where that cannot be promised without a query."""

    def write(self) -> AbstractContextManager[Writer]:
        """Begin the only writing transaction. It is committed at the end, and rolled back whole on any error."""

    def damage(self) -> list[str]:
        """Return what the database itself finds wrong with its content."""

    def bytes(self) -> int:
        """Return how many bytes the registry's tables take."""

    def last_ids(self, reader: Reader) -> Mapping[str, int]:
        """Return the highest id that each of the tables has ever given, as far as this user may know it."""

    def close(self) -> None: ...


class DatabaseLocation(Protocol):
    """Where a registry's database is, or will be.

    Attributes:
        place: as in Database.
    """

    @property
    def place(self) -> str: ...

    def open(self) -> Database | None:
        """Return the database there, with an older schema upgraded; None where there are no tables.

        Raises:
            RegistryError: it belongs to another program or to a newer cl-ast.
            CorruptRegistryError: it is damaged.
        """

    def make(self) -> Database:
        """Return a database with empty tables, or the one that another process made just before."""

    def rebuild(self, plan: "Plan") -> str | None:
        """Put a new content in the place of whatever is there: all of it or nothing.

        Nobody else writes from before `plan` looks at anything until the new content is in place. Returns where the
        former one is kept; None where there was none.

        Raises:
            RegistryError: it belongs to another program or to a newer cl-ast.
        """


Plan = Callable[[Reader | None], Callable[[Writer], None]]
"""Looks at the former content, or None where it cannot be read, and returns what fills the new tables."""
