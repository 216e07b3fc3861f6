"""Bring an older registry's tables to this release's schema, in a transaction of the caller's.

One Alembic script a schema lies in `migrations/versions`, named by the schema it leads to. The database itself says
which it has (`sqlite`, `postgres`), so there is no second record to disagree with. Both databases undo changes of
tables with the rest of a transaction: the registry has the old schema or the new one. This is imported only when an
upgrade is due.
"""

from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, found: int, wanted: int) -> None:
    """Go from schema `found` to `wanted`."""
    scripts = ScriptDirectory(str(SCRIPTS))
    with Operations.context(MigrationContext.configure(connection)):
        for number in range(found + 1, wanted + 1):
            scripts.get_revision(str(number)).module.upgrade()
