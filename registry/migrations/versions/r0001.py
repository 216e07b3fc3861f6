"""The first released schema: `create_all` makes it, so there is nothing to do."""

revision = "1"
down_revision = None


def upgrade() -> None:
    """Every stored registry has at least this schema."""
