"""Adds the registry's identity and its last change; the first change of the registry fills both."""

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"

# Who was given rights for the other tables on a server needs the same for these.
_SAME_RIGHTS = """
    DO $$ DECLARE rights record; BEGIN
        FOR rights IN SELECT given.privilege_type AS what, given.grantee AS who FROM pg_class AS tables,
            aclexplode(coalesce(tables.relacl, acldefault('r', tables.relowner))) AS given
            WHERE tables.oid = 'versions'::regclass
        LOOP
            EXECUTE 'GRANT ' || rights.what || ' ON identity, last_change TO '
                || CASE rights.who WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(rights.who)) END;
        END LOOP;
    END $$"""


def upgrade() -> None:
    """Make two empty tables."""
    op.create_table(
        "identity",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("registry_id", sa.String(32), nullable=False),
        sa.CheckConstraint("id = 1", name="one_identity"),
    )
    op.create_table(
        "last_change",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("what", sa.String, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("undo", sa.String, nullable=False),
        sa.CheckConstraint("id = 1", name="one_change"),
    )
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_SAME_RIGHTS)
