"""Opens the two halves of a registry, and makes them where there is none."""

from pathlib import Path

from cl_ast.errors import CorruptRegistryError, RegistryNotFoundError
from registry.adapter_files import AdapterFiles
from registry.database import Database
from registry.identity import changing
from registry.locations import locate


def opened(location: str | Path, *, create: bool) -> tuple[Database, AdapterFiles]:
    """Return the database and the adapters of a registry; `Registry.open` says what is raised."""
    where, files = locate(location)
    database = where.open()
    if database is not None:
        return database, files
    registry_id = files.registry_id()
    if registry_id is not None or files.adapters():
        # Looked for again after the adapters: another process may be making the same registry just now.
        database = where.open()
        if database is not None:
            return database, files
        whose = "a registry" if registry_id is None else f"the registry {registry_id}"
        raise CorruptRegistryError(
            f"{where.place} is missing, but {files.store.place} has the adapters of {whose}: if its database is lost, "
            "restore it with `cl-ast rebuild`; if the database is elsewhere, name it, or another place for adapters"
        )
    if not create:
        raise RegistryNotFoundError(
            f"there is no registry at {where.place}: name another place (--registry or CL_AST_REGISTRY), or make "
            "one there with `cl-ast add-task` or `cl-ast import`"
        )
    files.store.prepare()
    database = where.make()
    with changing(database, files):
        pass  # both halves get their id
    return database, files
