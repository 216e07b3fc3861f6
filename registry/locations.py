"""What a registry's location means: a folder, or the URL of a database that also names the adapters' store.

    my-registry                                                            registry.db and adapters/ in a folder
    postgresql+psycopg://user@host/db?adapters=s3://bucket/prefix          a team's
    postgresql+psycopg://user@host/db?adapters=/mnt/team/adapters&cache=/fast/disk
    sqlite:///folder/registry.db                                           a folder, by its database
    sqlite:///folder/registry.db?adapters=s3://bucket/prefix               the same, the adapters elsewhere

`adapters` and `cache` are ours and taken out; every other parameter goes to the database's driver as it is.
"""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from cl_ast.errors import RegistryError
from registry.adapter_files import AdapterFiles
from registry.database import Home
from registry.errors import file_errors
from registry.file_stores import LocalFolder, Store

_FORMS = "name a folder, sqlite:///folder/registry.db, or postgresql+psycopg://host/database?adapters=FOLDER|URL"
_POSTGRES = frozenset({"postgresql", "postgresql+psycopg", "postgres"})


class Found(NamedTuple):
    home: Home
    files: AdapterFiles


def locate(location: str | Path) -> Found:
    """Both halves of a registry. Nothing is made or opened. Raises RegistryError for a place that cannot be one."""
    if isinstance(location, Path) or "://" not in location:
        return _folder(Path(location).expanduser() / "registry.db")
    scheme, _, rest = location.partition("://")
    rest, query = _parameters(rest)
    adapters, cache = unquote(query.pop("adapters", "")), unquote(query.pop("cache", ""))
    if scheme == "sqlite" and rest.startswith("/") and not rest.endswith(("/", ":memory:")) and not query:
        home = _folder(Path(unquote(rest[1:])).expanduser())
        return Found(home.home, _adapters(adapters, cache)) if adapters else home
    if scheme in _POSTGRES:
        if not adapters:
            raise RegistryError(
                "this URL names a database and no place for the adapter files: add ?adapters=s3://bucket/prefix, or "
                "?adapters=/a/shared/folder"
            )
        from registry.postgres_database import Server

        more = "&".join(f"{key}={value}" for key, value in query.items())
        return Found(Server(f"postgresql://{rest}?{more}".rstrip("?")), _adapters(adapters, cache))
    raise RegistryError(f"a registry cannot be at {scheme or 'an empty scheme'}:// like this: {_FORMS}")


def _folder(path: Path) -> Found:
    """A database in a folder, with the adapters beside it."""
    from registry.sqlite_database import File

    folder = path.parent
    with file_errors(folder, "look at"):
        is_file = folder.exists() and not folder.is_dir()
    if is_file:
        raise RegistryError(f"{folder} is a file, and a registry is a folder: name another place")
    path = path.resolve()
    return Found(File(path), AdapterFiles(LocalFolder(path.parent / "adapters")))


def _adapters(place: str, cache: str) -> AdapterFiles:
    near = LocalFolder(Path(cache).expanduser()) if cache else None
    if "://" in place:
        from registry.remote_store import RemoteStore

        store: Store = RemoteStore(place)
        return AdapterFiles(store, near or LocalFolder(_user_cache()))
    folder = Path(place).expanduser()
    if not folder.is_absolute():
        raise RegistryError(f"adapters={place} depends on where cl-ast is started: give the whole path of the folder")
    return AdapterFiles(LocalFolder(folder), near)


def _user_cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("cl-ast")) / "adapters"


def _parameters(rest: str) -> tuple[str, dict[str, str]]:
    """The part before the `?`, and the parameters as they were written."""
    rest, _, query = rest.partition("?")
    pairs = (item.partition("=") for item in query.split("&") if item)
    return rest, {key: value for key, _, value in pairs}
