"""The first released schema. Every stored registry has at least this one, so there is nothing to do."""

revision = "1"
down_revision = None


def upgrade() -> None:
    """Do nothing: a new registry's tables are made from the models."""
