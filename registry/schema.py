"""Which schema of the tables this release has, and the messages for a database that has another one.

This stands apart from the tables in `models`, so that reading a registry needs no SQLAlchemy, whose import takes longer
than most queries.
"""

from cl_ast.errors import CorruptRegistryError, RegistryError

VERSION = 4
TABLES = frozenset(
    {
        "backbone",
        "identity",
        "last_change",
        "shared_parts",
        "tasks",
        "versions",
        "measurements",
        "accuracies",
        "sqlite_sequence",
    }
)
"""The tables of `models`, and the one in which SQLite keeps the last id of each."""


def check(place: str, found: int) -> bool:
    """Return whether the database at `place` has an older schema. Raise RegistryError for a newer one.

    Raises CorruptRegistryError for a number that no cl-ast has written.
    """
    if found < 1:
        raise CorruptRegistryError(
            f"{place} says that it has schema {found}, which no cl-ast wrote: "
            "run `cl-ast rebuild` to restore the database from the adapter files"
        )
    if found > VERSION:
        raise RegistryError(
            f"{place} was written by a newer cl-ast (schema {found}; this one knows {VERSION}): "
            "upgrade with `pip install --upgrade cl-ast`"
        )
    return found < VERSION


def something_else(place: str) -> RegistryError:
    """Return the error for a database that belongs to another program."""
    return RegistryError(f"{place} is a database of something else, not a cl-ast registry; name another place")
