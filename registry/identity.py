"""Which registry a database and a store of adapters belong to: the same id is in both.

Without it, the database of one registry beside the adapters of another would take these for leftovers. A registry gets
its id when it is made, and one of an earlier cl-ast with its next change. Reading a task looks at no id: its file is
found by its hash, and belongs to no other.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from cl_ast.errors import RegistryError
from registry import rows
from registry.adapter_files import ID_FILE, AdapterFiles, name_of
from registry.database import Database, Reader, Writer
from registry.version_facts import is_sha256


@contextmanager
def changing(database: Database, files: AdapterFiles) -> Iterator[Writer]:
    """Begin the only writing transaction of a registry whose database and adapters belong together."""
    with database.write() as writer:
        mine, theirs = rows.registry_id(writer), files.registry_id()
        if mine is None or mine != theirs:
            wanted = agreed(writer, database.place, files)
            if mine is None:
                insert(writer, wanted)
            if theirs is None:
                files.write_registry_id(wanted)
        yield writer


def agreed(reader: Reader, place: str, files: AdapterFiles) -> str:
    """Return the id that both halves have, or that the one gets which has none.

    Raises RegistryError where they belong to two registries.
    """
    mine, theirs = rows.registry_id(reader), files.registry_id()
    if mine is not None and theirs is not None and mine != theirs:
        raise RegistryError(
            f"the database {place} belongs to the registry {mine}, and the adapters in {files.store.place} to another "
            f"registry, {theirs}: nothing was changed; name a database and adapters that belong together (--registry "
            "or CL_AST_REGISTRY, in a URL also adapters=)"
        )
    if (mine is None or theirs is None) and not _related(reader, files):
        raise RegistryError(
            f"there are adapters in {files.store.place}, and the database {place} knows none of them: they belong to "
            "another registry, and nothing was changed; name the place of this database's own adapters, or, to make a "
            "database for these adapters, run `cl-ast rebuild` where there is none yet"
        )
    return mine or theirs or secrets.token_hex(16)


def insert(writer: Writer, registry_id: str) -> None:
    """Insert the id into a database that has none."""
    from registry.models import IdentityRow

    writer.session.add(IdentityRow(id=rows.ONE_ROW, registry_id=registry_id))
    writer.session.flush()


def missing_beside(reader: Reader, files: AdapterFiles) -> str | None:
    """Return where the adapters' id should be, if the database has one and they have none."""
    missing = rows.registry_id(reader) is not None and files.registry_id() is None
    return files.store.address(ID_FILE) if missing else None


def _related(reader: Reader, files: AdapterFiles) -> bool:
    """Return whether the database knows one of the adapters, or there is none. A hash is in no two registries."""
    there = {file.name for file in files.adapters()}
    known = rows.all_files_named(reader)
    return not there or any(is_sha256(sha256) and name_of(sha256) in there for sha256 in known)
