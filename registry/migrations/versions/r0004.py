"""Adds shared parts, and the column in which a version names the one that its method reads."""

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"

# Who was given rights for the other tables on a server needs the same for this one and for its ids.
_SAME_RIGHTS = """
    DO $$ DECLARE rights record; BEGIN
        FOR rights IN SELECT given.privilege_type AS what, given.grantee AS who FROM pg_class AS tables,
            aclexplode(coalesce(tables.relacl, acldefault('{kind}', tables.relowner))) AS given
            WHERE tables.oid = '{like}'::regclass
        LOOP
            EXECUTE 'GRANT ' || rights.what || ' ON {new} TO '
                || CASE rights.who WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(rights.who)) END;
        END LOOP;
    END $$"""


def upgrade() -> None:
    """Make an empty table, and add the column in place, since making the table again would empty those beside it."""
    long = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
    op.create_table(
        "shared_parts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("key", sa.String, nullable=False, unique=True),
        sa.Column("method", sa.String, nullable=False),
        sa.Column("tasks", sa.JSON, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("bytes", long, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.CheckConstraint("length(sha256) = 64", name="shared_sha256_length"),
        sqlite_autoincrement=True,
    )
    op.execute("ALTER TABLE versions ADD COLUMN shared VARCHAR(64) REFERENCES shared_parts (sha256)")
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        table = _SAME_RIGHTS.format(kind="r", like="versions", new="shared_parts")
        ids = _SAME_RIGHTS.format(kind="s", like="versions_id_seq", new="SEQUENCE shared_parts_id_seq")
        connection.exec_driver_sql(table)
        connection.exec_driver_sql(ids)
