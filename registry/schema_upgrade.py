"""Brings the tables of an older registry to this release's schema, in a transaction of the caller's.

`migrations/versions` has one Alembic script for each schema, whose revision is the number of the schema it leads to.
The database itself says which schema it has (see `sqlite_database` and `postgres_database`), so that there is no second
record to disagree with. Both databases undo changes of tables with the rest of a transaction: afterwards the registry
has either the old schema or the new one. This module is imported only when an upgrade is due.
"""

from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, found: int, wanted: int) -> None:
    """Go from schema `found` to schema `wanted`, one script after the other."""
    scripts = ScriptDirectory(str(SCRIPTS))
    with Operations.context(MigrationContext.configure(connection)):
        for number in range(found + 1, wanted + 1):
            scripts.get_revision(str(number)).module.upgrade()
