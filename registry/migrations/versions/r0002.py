"""Adds the column `training`, in which a version remembers how it was trained. Earlier versions get an empty object."""

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Add the column in place: making the table again would empty the tables that point at it on SQLite."""
    op.add_column("versions", sa.Column("training", sa.JSON, nullable=False, server_default="{}"))
