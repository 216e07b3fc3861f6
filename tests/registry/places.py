"""Where the registries of the tests are: a folder, or a database of its own on the PostgreSQL server that
CL_AST_POSTGRES names, with the adapters in a folder. Killed processes import this too.
"""

import os
import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from registry import Mode, Registry, VersionRecord

if TYPE_CHECKING:
    import psycopg

SERVER = os.environ.get("CL_AST_POSTGRES", "")  # postgresql://user@host:port/database
_OWN_NAME = "the tests themselves"
_OTHERS = f"""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name <> '{_OWN_NAME}' AND backend_type = 'client backend'"""
_MEASURED = """
    SELECT t.name, count(a.id) FROM measurements m JOIN accuracies a ON a.measurement_id = m.id
    LEFT JOIN versions v ON m.after_version_id = v.id LEFT JOIN tasks t ON v.task_id = t.id
    GROUP BY m.id, t.name ORDER BY m.id"""
NO_SERVER = "set CL_AST_POSTGRES=postgresql://user@host/db to a server where databases may be made and dropped"


@dataclass(frozen=True)
class Place:
    """A registry's location, and what its tests look at behind its back."""

    location: Path | str
    adapters: Path
    execute: Callable[..., list[tuple[Any, ...]]]  # one statement on its database

    def lose(self) -> None:
        """The database is gone, the adapters are not."""
        if isinstance(self.location, Path):
            for path in self.location.glob("registry.db*"):
                path.unlink()
        else:
            self.execute("DROP SCHEMA public CASCADE")
            self.execute("CREATE SCHEMA public")

    def settle(self) -> None:
        """Wait until the server has noticed that a client is gone: what it had been told to commit, it may still do."""
        while isinstance(self.location, str) and self.execute(_OTHERS) != [(0,)]:
            time.sleep(0.01)

    def file(self, version: VersionRecord) -> Path:
        return self.adapters / f"{version.adapter_sha256}.safetensors"

    def files(self) -> list[Path]:
        """Everything beside the adapters but for the registry's id and the trash, in a stable order."""
        return sorted(path for path in self.adapters.iterdir() if path.name not in ("registry-id", "trash"))

    def trash(self) -> list[Path]:
        """What was thrown away, in a stable order."""
        return sorted((self.adapters / "trash").glob("*"))

    def measured(self) -> list[tuple[Any, ...]]:
        """For each measurement that has accuracies, oldest first: the last task by then, and how many they are."""
        return self.execute(_MEASURED)


def folder(path: Path) -> Place:
    def execute(sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(path / "registry.db", isolation_level=None)) as connection:
            return connection.execute(sql).fetchall()

    return Place(path, path / "adapters", execute)


def database(name: str, adapters: Path) -> Place:
    url = f"{_url(name)}"
    return Place(
        f"{url.replace('postgresql://', 'postgresql+psycopg://')}?adapters={adapters}",
        adapters,
        lambda sql: on_server(sql, name),
    )


def place_of(location: str) -> Place:
    """As its location says, in another process."""
    if "://" not in location:
        return folder(Path(location))
    return database(urlsplit(location).path[1:], Path(location.partition("?adapters=")[2]))


def new_database(template: str = "template0") -> str:
    name = f"cl_ast_test_{secrets.token_hex(6)}"
    # Copying the files is quicker than logging their content, which PostgreSQL does since version 15.
    quickly = " STRATEGY file_copy" if _connection("").info.server_version >= 150_000 else ""
    on_server(f"CREATE DATABASE {name} TEMPLATE {template}{quickly}")
    return name


def drop(name: str) -> None:
    kept = _connections.pop((os.getpid(), name), None)
    if kept is not None:
        kept.close()
    on_server(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def on_server(sql: str, name: str = "") -> list[tuple[Any, ...]]:
    cursor = _connection(name).execute(sql.encode())
    return cursor.fetchall() if cursor.description else []


# By process and database, until the database is dropped: to connect takes milliseconds. No fork uses its parent's.
_connections: "dict[tuple[int, str], psycopg.Connection[tuple[Any, ...]]]" = {}


def _connection(name: str) -> "psycopg.Connection[tuple[Any, ...]]":
    import psycopg

    key = os.getpid(), name
    if key not in _connections:
        _connections[key] = psycopg.connect(_url(name), autocommit=True, application_name=_OWN_NAME)
    return _connections[key]


def _url(name: str) -> str:
    parts = urlsplit(SERVER)
    return parts._replace(path=f"/{name}" if name else parts.path).geturl()


def matrix(reg: Registry, mode: Mode = "oracle") -> list[list[float | None]]:
    """Row i, column j: accuracy on task j, measured after task i was learned; None where there is none."""
    overview = reg.overview()
    tasks = range(len(overview.tasks))
    return [[overview.accuracies[mode].get((i, j)) for j in tasks] for i in tasks]


def confusion(reg: Registry) -> list[list[int]]:
    """Row i, column j: test clips of task i that were last routed to task j."""
    overview = reg.overview()
    tasks = range(len(overview.tasks))
    return [[overview.routed.get((i, j), 0) for j in tasks] for i in tasks]
