"""Bring an older registry's tables to this release's schema, with a backup beside it.

One Alembic script a schema lies in `migrations/versions`, named by the schema it leads to. The database itself says
which it has (`user_version`), so there is no second record to disagree with. All steps, and the new number, are one
transaction: the registry has the old schema or the new one. Alembic is imported only when an upgrade is due.
"""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from cl_ast.errors import RegistryError
from registry.files import file_errors, sync_folder
from registry.steps import reached

if TYPE_CHECKING:
    from registry.database import Database

SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(database: "Database", found: int, wanted: int) -> Path | None:
    """Go from schema `found` to `wanted`; returns the backup, or None where another process has done it.

    Raises RegistryError where the place is read-only, or a step fails; the registry is then as it was.
    """
    if not database.writable:
        raise RegistryError(
            f"{database.path} has an older schema ({found}; this cl-ast needs {wanted}) and cannot be written by you: "
            "open it once where it can be, or copy it"
        )
    backup = _backup(database.path, found)
    with database.write() as session:
        connection = session.connection()
        now = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
        if now < wanted:
            _run(connection, now, wanted)
            connection.exec_driver_sql(f"PRAGMA user_version = {int(wanted)}")
    if now >= wanted:
        backup.unlink(missing_ok=True)
        return None
    return backup


def _run(connection: Connection, found: int, wanted: int) -> None:
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(SCRIPTS))
    with Operations.context(MigrationContext.configure(connection)):
        for number in range(found + 1, wanted + 1):
            scripts.get_revision(str(number)).module.upgrade()


def _backup(path: Path, found: int) -> Path:
    """A copy as SQLite makes it: one moment of the database, its log included."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    backup = path.with_name(f"{path.name}.schema-{found}-{stamp}")
    part = backup.with_name(f"{backup.name}.part")
    with file_errors(path.parent, "back up the registry in"):
        reached("back up")
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(part)) as copy:
            source.backup(copy)
        part.replace(backup)
        sync_folder(path.parent)
    return backup
