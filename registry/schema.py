"""Which schema this release has, and what is said to a database that has another.

It stands apart from the tables: asking needs no SQLAlchemy, whose import takes longer than most questions.
"""

from cl_ast.errors import RegistryError

VERSION = 2


def check(place: str, found: int) -> bool:
    """Whether the database at `place` is of an older schema. Raises RegistryError for a newer one."""
    if found > VERSION:
        raise RegistryError(
            f"{place} was written by a newer cl-ast (schema {found}; this one knows {VERSION}): "
            "upgrade with `pip install --upgrade cl-ast`"
        )
    return found < VERSION


def something_else(place: str) -> RegistryError:
    return RegistryError(f"{place} is a database of something else, not a cl-ast registry; name another place")
