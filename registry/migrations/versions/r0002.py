"""A version remembers how it was trained: the column `training`, an empty object for the versions before."""

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Add the column in place: SQLite would empty every table that points at a table made anew."""
    op.add_column("versions", sa.Column("training", sa.JSON, nullable=False, server_default="{}"))
