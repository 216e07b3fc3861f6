"""Turns what SQLite says into sentences that say what happened and what to do."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry.errors import not_writable
from registry.sqlite_connections import BUSY_SECONDS, code


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn a database error into a RegistryError that says what happened and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(path, error) from error
    except UnicodeDecodeError as error:  # SQLite's own message quotes the damage
        raise _damaged(path, "its schema is not text") from error


def translate(path: Path, error: BaseException) -> RegistryError:
    """Return a RegistryError that says what happened and what to do."""
    match code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return RegistryError(
                f"another process has kept {path} busy for {BUSY_SECONDS} seconds; "
                "nothing was changed, try again when it is done"
            )
        case sqlite3.SQLITE_FULL:
            return RegistryError(f"no space is left for {path}; nothing was changed, free some and try again")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return RegistryError(not_writable(str(path.parent)))
        case sqlite3.SQLITE_CANTOPEN:
            return RegistryError(f"cannot open {path}: check that it exists and that you may read its folder")
        case sqlite3.SQLITE_IOERR:
            return RegistryError(f"the disk failed at {path} ({error}); free space, check the disk, try again")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_INTERRUPT:
            return _damaged(path, str(error))
        case _:
            return RegistryError(f"{path} refused: {error}")


def _damaged(path: Path, why: str) -> CorruptRegistryError:
    return CorruptRegistryError(
        f"{path} is damaged ({why}); the adapters are files of their own: "
        "run `cl-ast rebuild` to restore the database from them"
    )
