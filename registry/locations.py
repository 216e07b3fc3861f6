"""What a registry's location means: a folder, or the URL of a database that also names the store of the adapters.

    my-registry                                                            registry.db and adapters/ in a folder
    postgresql+psycopg://user@host/db?adapters=s3://bucket/prefix          a team's
    postgresql+psycopg://user@host/db?adapters=/mnt/team/adapters&cache=/fast/disk
    sqlite:///folder/registry.db                                           a folder, by its database
    sqlite:///folder/registry.db?adapters=s3://bucket/prefix               the same, with the adapters elsewhere

`adapters` and `cache` are parameters of cl-ast and taken out; every other goes to the database's driver as it is.
"""

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from cl_ast import caches
from cl_ast.errors import RegistryError
from registry import passwords
from registry.adapter_files import AdapterFiles
from registry.database import DatabaseLocation
from registry.errors import file_errors
from registry.file_stores import LocalFolder, Store

_FORMS = "name a folder, sqlite:///folder/registry.db, or postgresql+psycopg://host/database?adapters=FOLDER|URL"
# A URL that lost a slash, as in a Path or by a slip, would make a folder that is called by its password.
_CUT_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!/)|(sqlite|postgres(ql)?(\+[a-z0-9]+)?):(?!//)", re.IGNORECASE)
_POSTGRES = frozenset({"postgresql", "postgresql+psycopg", "postgres"})


class Located(NamedTuple):
    """The two halves of a registry: where its database is, and its adapter files."""

    database: DatabaseLocation
    files: AdapterFiles


def locate(location: str | Path) -> Located:
    """Return both halves of a registry; nothing is made or opened.

    Raises:
        RegistryError: a registry cannot be there.
    """
    if _CUT_URL.match(str(location)):
        raise RegistryError(f"a URL begins with ://, and a folder is not called like a URL: {_FORMS}")
    if isinstance(location, Path) or "://" not in location:
        return _folder(Path(location).expanduser() / "registry.db")
    scheme, _, rest = location.partition("://")
    rest, query = _parameters(rest)
    adapters, cache = unquote(query.pop("adapters", "")), unquote(query.pop("cache", ""))
    if scheme == "sqlite" and rest.startswith("/") and not rest.endswith(("/", ":memory:")) and not query:
        found = _folder(Path(unquote(rest[1:])).expanduser())
        return Located(found.database, _adapters(adapters, cache)) if adapters else found
    if scheme in _POSTGRES:
        if not adapters:
            raise RegistryError(
                "this URL names a database and no place for the adapter files: add ?adapters=s3://bucket/prefix, or "
                "?adapters=/a/shared/folder"
            )
        from registry.postgres_database import PostgresLocation

        more = "&".join(f"{key}={value}" for key, value in query.items())
        database = PostgresLocation(f"postgresql://{rest}?{more}".rstrip("?"))
        return Located(database, _adapters(adapters, cache))
    raise RegistryError(f"a registry cannot be at {scheme or 'an empty scheme'}:// like this: {_FORMS}")


def _folder(path: Path) -> Located:
    """Return a database in a folder, with the adapters beside it."""
    from registry.sqlite_database import SqliteLocation

    folder = path.parent
    with file_errors(folder, "look at"):
        is_file = folder.exists() and not folder.is_dir()
    if is_file:
        raise RegistryError(f"{folder} is a file, and a registry is a folder: name another place")
    path = path.resolve()
    return Located(SqliteLocation(path), AdapterFiles(LocalFolder(path.parent / "adapters")))


def _adapters(place: str, cache: str) -> AdapterFiles:
    nearby = LocalFolder(Path(cache).expanduser()) if cache else None
    if "://" in place:
        from registry.remote_store import RemoteStore

        store: Store = RemoteStore(place)
        return AdapterFiles(store, nearby or LocalFolder(caches.adapters()))
    folder = Path(place).expanduser()
    if not folder.is_absolute():
        raise RegistryError(f"adapters={place} depends on where cl-ast is started: give the whole path of the folder")
    return AdapterFiles(LocalFolder(folder), nearby)


def _parameters(rest: str) -> tuple[str, dict[str, str]]:
    """Return the part before the `?`, and the parameters as they were written."""
    rest, _, query = rest.partition("?")
    pairs = [item.partition("=") for item in query.split("&") if item]
    if not all(equals for _, equals, _ in pairs):
        raise passwords.unclear()
    return rest, {key: value for key, _, value in pairs}
