"""Takes the last change of the tasks back, while its files are there.

The rows become what they were, with the same ids, and files that the change dropped come out of the trash before the
transaction is committed; what the change had made goes to the trash after it. A crash leaves at most files that no row
names, as any change does. What was measured since then of other tasks stays.
"""

from collections.abc import Sequence
from contextlib import suppress

from cl_ast.errors import RegistryError
from cl_ast.wording import plural
from registry import changes, deltas, last_change, row_checks, rows, trash
from registry.adapter_files import AdapterFiles, name_of
from registry.database import Database, Reader, Writer
from registry.deltas import Delta, TooManyRowsError
from registry.identity import changing
from registry.last_change import Undoing
from registry.records import LastChange, Undone


def undo(database: Database, files: AdapterFiles, expected: LastChange | None) -> Undone:
    """Do what `Registry.undo` says."""
    moved: list[str] = []
    away: list[str] = []
    try:
        with row_checks.of_one_row(), changing(database, files) as writer:
            change = _change(writer, expected)
            undoing = last_change.undoing(writer)
            if undoing.delta is None:
                raise RegistryError(
                    f"this cannot be taken back: {change}; the registry does not keep so many rows of one change "
                    f"(the files are in the trash for {trash.DAYS} days)"
                )
            inverse = _applied(writer, undoing.delta, change)
            _bring_back(files, undoing.back, change, moved)
            gone = [row["adapter_sha256"] for row in inverse.put["versions"]]
            gone += [row["sha256"] for row in inverse.put["shared_parts"]]
            away = _unnamed(writer, [*undoing.away, *gone])
            again = Undoing(away, undoing.back, inverse)
            undoable = last_change.note(writer, "redo" if change.kind == "undo" else "undo", change.what, again)
            now = _now(writer, undoing.delta, inverse)
    except BaseException:
        with suppress(RegistryError):
            changes.throw_away(database, files, moved)
        raise
    changes.throw_away(database, files, away)
    return Undone(change, now, undoable)


def _change(reader: Reader, expected: LastChange | None) -> LastChange:
    change = last_change.read(reader)
    if change is None:
        raise RegistryError("there is no change to take back: none was made since this registry keeps the last one")
    if expected is not None and change != expected:
        raise RegistryError(f"another change came meanwhile: {change}; nothing was taken back")
    return change


def _applied(writer: Writer, delta: Delta, change: LastChange) -> Delta:
    """Change the rows. Raises RegistryError where they are not as the change left them."""
    from sqlalchemy.exc import IntegrityError

    try:
        inverse = deltas.apply(writer, delta)
        for row in delta.put.get("tasks", ()):
            rows.task(writer, row["name"])  # which raises an error where its rows do not fit together
    except TooManyRowsError:
        raise RegistryError(f"this cannot be taken back: {change}; it concerns too many rows by now") from None
    except IntegrityError as error:
        raise RegistryError(
            f"this cannot be taken back: {change}; the database was changed since then in another way"
        ) from error
    return inverse


def _bring_back(files: AdapterFiles, hashes: Sequence[str], change: LastChange, moved: list[str]) -> None:
    """Take files out of the trash that are not in their place, and add them to `moved`. Raises RegistryError."""
    there = {file.name for file in files.own()}
    wanted = [sha256 for sha256 in hashes if name_of(sha256) not in there]
    moved += wanted
    missing = trash.restore(files.store, wanted)
    if missing:
        raise RegistryError(
            f"this cannot be taken back: {change}; {len(missing)} of its files are not in the trash any more "
            f"({name_of(missing[0])})"
        )


def _unnamed(writer: Writer, hashes: Sequence[str]) -> list[str]:
    """Return those that no row names, each once."""
    named = rows.all_files_named(writer)
    return [sha256 for sha256 in dict.fromkeys(hashes) if sha256 not in named]


def _now(writer: Writer, delta: Delta, inverse: Delta) -> str:
    """Return what holds after the change was taken back, in words."""
    sentences = [f"the shared part {row['name']} is here again" for row in delta.put.get("shared_parts", ())]
    sentences += [f"the shared part {row['name']} is not here any more" for row in inverse.put["shared_parts"]]
    for row in [*delta.put.get("tasks", ()), *inverse.put["tasks"]]:
        what = f"task {row['name']} is not here any more"
        for name, number, count in _task(writer, row["id"]):
            versions = plural(count, "version") + (f", and version {number} answers" if count > 1 else "")
            what = f"task {name} is here with {versions}"
        if what not in sentences:
            sentences.append(what)
    if sentences:
        return "; ".join(sentences)
    back, gone = len(delta.put.get("versions", ())), len(inverse.put["versions"])
    if number := back or gone:
        are = "is" if number == 1 else "are"
        return f"{plural(number, 'former version')} {are} {'here' if back else 'gone'} again"
    return "the files are where they were"


def _task(writer: Writer, id: int) -> list[tuple[str, int, int]]:
    """Return the name of a task, the number of its current version, and how many versions it has."""
    found = writer.query(
        "SELECT t.name, v.number, (SELECT count(*) FROM versions o WHERE o.task_id = t.id) "
        "FROM tasks t JOIN versions v ON v.id = t.current_version_id WHERE t.id = ?",
        id,
    )
    return [(str(name), int(number), int(count)) for name, number, count in found]
