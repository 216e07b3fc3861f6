"""Refuses an SQLite file that has more in it than a registry's tables, since anybody may have written it.

A view could stand for a table, a trigger could change other rows, a generated column could make gigabytes of text, and
a journal beside the file can tell SQLite to delete a file anywhere. None of them is ever in a registry of cl-ast.
"""

import sqlite3
from contextlib import suppress
from pathlib import Path

from cl_ast.errors import CorruptRegistryError
from registry import schema, sqlite_replace
from registry.file_stores import size
from registry.row_checks import MOST_ID

_LONGEST_VALUE = 64 * 2**20  # bytes; the longest of ours are a list of labels and the router's background
_SPARE_IDS = 1_000_000  # that a table must still be able to give
# A statement may take so many steps of SQLite's machine, and so many more for each byte of the file. A statement over
# a registry takes a few for each byte; pages that name each other in a circle would keep one busy for ever.
_STEPS, _STEPS_A_BYTE = 5_000_000, 20
_BETWEEN = 100_000
# The journal of several databases ends with the name of a file that SQLite deletes, and with these bytes.
_JOURNAL_END = bytes.fromhex("d9d505f920a163d7")


def limit(connection: sqlite3.Connection, path: Path) -> None:
    """Bound what a statement over this database may take in memory and time, and let its content call no function."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.execute("PRAGMA trusted_schema = OFF")
    taken = 0

    def step() -> bool:
        nonlocal taken
        taken += _BETWEEN
        # With the log, where what is being written comes first.
        return taken > _STEPS and taken > _STEPS + _STEPS_A_BYTE * (size(path) + size(sqlite_replace.wal(path)))

    connection.set_progress_handler(step, _BETWEEN)


def check_journal(path: Path, journal: Path) -> None:
    """Raise CorruptRegistryError where a journal lies beside the database that names another file."""
    try:
        with journal.open("rb") as file:
            file.seek(max(0, journal.stat().st_size - len(_JOURNAL_END)))
            names_another = file.read() == _JOURNAL_END
    except OSError:
        return  # there is none, or SQLite cannot read it either
    if names_another:
        raise CorruptRegistryError(
            f"{journal} was not written by cl-ast and names another file, which SQLite would delete: do not trust "
            f"{path.parent}, or remove the journal if you know where it comes from"
        )


def check_content(path: Path, connection: sqlite3.Connection, *, complete: bool) -> None:
    """Raise CorruptRegistryError for anything that is not a table or an index of a registry, and for absurd ids.

    Also for a table that is missing, where all of this release's tables must be there (`complete`).
    """
    tables = set()
    for kind, name, table, page in connection.execute("SELECT type, name, tbl_name, rootpage FROM sqlite_master"):
        ours = kind in ("table", "index") and table in schema.TABLES and type(page) is int and page > 0
        if not ours or (kind == "table" and name != table):
            raise _not_ours(path, f"the {kind!s:.20} {name!r:.80}")
        tables.add(table)
    if complete and tables != schema.TABLES:
        raise _not_ours(path, f"no table {min(schema.TABLES - tables)}")
    for (name,) in connection.execute(
        "SELECT x.name FROM sqlite_master m JOIN pragma_table_xinfo(m.name) x WHERE m.type = 'table' AND x.hidden"
    ):
        raise _not_ours(path, f"the column {name!r:.80}, which is computed")
    with suppress(sqlite3.DatabaseError):  # a damaged page: `verify` says so, and no row can be added
        wrong = "typeof(seq) <> 'integer' OR seq NOT BETWEEN 0 AND ?"
        for (name,) in connection.execute(
            f"SELECT name FROM sqlite_sequence WHERE {wrong} LIMIT 1", [MOST_ID - _SPARE_IDS]
        ):
            raise _not_ours(path, f"a last id of the table {name!r:.80} that cannot be")


def _not_ours(path: Path, what: str) -> CorruptRegistryError:
    return CorruptRegistryError(
        f"{path} has {what}: no cl-ast wrote that, so nothing of it is used; "
        "run `cl-ast rebuild` to restore the database from the adapter files"
    )
