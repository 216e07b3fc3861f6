"""What the rest of the registry needs of a database; `sqlite` and `postgres` are the two that have it.

Questions are plain SQL, put to the database's own driver: that answers before SQLAlchemy would have been imported, and
listing tasks is mostly the cost of importing. Changes go through SQLAlchemy and the tables of `models`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from registry.steps import reached

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from registry.models import Base

Rows = Iterable[tuple[Any, ...]]


class Asking(Protocol):
    """A transaction that questions can be put to."""

    def ask(self, sql: str, *values: object) -> Rows:
        """The rows of one SELECT. A `?` for each value."""


@dataclass(frozen=True, slots=True)
class Writing:
    """A transaction that is alone in writing.

    `mark` is what the driver calls a `?`; `next_id` tells a table, where that is needed, which ids are taken.
    """

    session: "Session"
    mark: str
    next_id: str = ""

    def ask(self, sql: str, *values: object) -> Rows:
        self.session.flush()
        found = self.session.connection().exec_driver_sql(sql.replace("?", self.mark), values)
        return [tuple(row) for row in found]

    def insert(self, table: "type[Base]", values: Sequence[Mapping[str, object]]) -> None:
        """Many rows at once, their ids given; the next id that the database gives is higher than all of them."""
        from sqlalchemy import insert

        self.session.execute(insert(table), values)
        if self.next_id:
            self.session.connection().exec_driver_sql(self.next_id.format(table.__tablename__))

    def ready(self) -> None:
        """Everything is said; the commit is next."""
        self.session.flush()
        reached("commit")


class Database(Protocol):
    """An open database of a registry. Short transactions, each with a connection of its own: nothing is shared
    between threads, carried over a fork or left open between two calls.

    Attributes:
        place: where it is, as people read it; never with a password.
        writable: whether this user may change it.
    """

    @property
    def place(self) -> str: ...
    @property
    def writable(self) -> bool: ...

    def read(self) -> AbstractContextManager[Asking]:
        """A transaction that sees one state of the registry throughout. It never waits for a writer."""

    def write(self) -> AbstractContextManager[Writing]:
        """A transaction that is alone in writing: committed at the end, rolled back whole on any error."""

    def damage(self) -> list[str]:
        """What the database itself finds wrong."""

    def bytes(self) -> int:
        """What the registry's tables take."""

    def close(self) -> None: ...


class Home(Protocol):
    """Where a registry's database is, or will be. `place` as in Database."""

    @property
    def place(self) -> str: ...

    def open(self) -> Database | None:
        """The database there, an older schema upgraded; None where no table is.

        Raises RegistryError where it is none of ours or of a newer cl-ast, CorruptRegistryError where it is damaged.
        """

    def make(self) -> Database:
        """A database with empty tables, unless another process was faster. Raises RegistryError."""

    def rebuild(self, fill: Callable[[Writing], None]) -> str | None:
        """Put a new database, which `fill` fills, in the place of whatever is there: all of it or nothing.

        Returns where the former one is kept; None where there was none.
        """
